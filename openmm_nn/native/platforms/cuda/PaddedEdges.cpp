#include "PaddedEdges.h"
#include <limits>

using namespace OpenMMNN;

void PaddedEdges::find(const at::Tensor& positions, const at::Tensor& box) {
    const int64_t numAtoms = positions.size(0);
    at::Tensor delta = positions.unsqueeze(0)-positions.unsqueeze(1), shift = at::zeros_like(delta);
    if (periodic)
        for (int k = 2; k >= 0; k--) {
            at::Tensor vector = box.select(0, k);
            at::Tensor move = (delta.select(2, k)/vector.select(0, k)+0.5).floor().unsqueeze(2)*vector;
            delta = delta-move;
            shift = shift-move;
        }
    at::Tensor squares = delta.square().sum(2);
    squares.diagonal().fill_(std::numeric_limits<double>::infinity());
    largest = (squares < cutoff*cutoff).sum(1).max();
    if (capacity == 0)
        return;
    auto [near, nearest] = squares.topk(capacity, 1, false, false);
    at::Tensor within = (near < cutoff*cutoff);
    at::Tensor atoms = at::arange(numAtoms, nearest.options()).unsqueeze(1).expand({numAtoms, capacity});
    at::Tensor others = at::where(within, nearest, atoms);
    at::Tensor far = at::zeros({3}, positions.options());
    far.select(0, 0).fill_(2*cutoff);
    index = at::stack({atoms.reshape(-1), others.reshape(-1)});
    shifts = at::where(within.unsqueeze(2), shift.gather(1, nearest.unsqueeze(2).expand({numAtoms, capacity, 3})), far).reshape({-1, 3});
}
