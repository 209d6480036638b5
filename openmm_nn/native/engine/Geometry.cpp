#include "Geometry.h"
#include <algorithm>
#include <cmath>

using namespace OpenMM;
using namespace OpenMMNN;
using std::pair;
using std::vector;

double Box::smallestHeight() const {
    double volume = std::fabs(a.dot(b.cross(c)));
    Vec3 ab = a.cross(b), bc = b.cross(c), ca = c.cross(a);
    double largestFace = std::sqrt(std::max({ab.dot(ab), bc.dot(bc), ca.dot(ca)}));
    return volume/largestFace;
}

Vec3 Box::minimumImage(Vec3 delta) const {
    delta -= c*std::round(delta[2]/c[2]);
    delta -= b*std::round(delta[1]/b[1]);
    delta -= a*std::round(delta[0]/a[0]);
    return delta;
}

Vec3 Box::nearestImage(const Vec3& delta) const {
    // The rounded image lies in a rectangular cell of the size of the box vectors' diagonal; the nearest one is at most
    // one box vector away from it in every direction.
    Vec3 rounded = minimumImage(delta), best = rounded;
    if (b[0] == 0.0 && c[0] == 0.0 && c[1] == 0.0)
        return best;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++)
            for (int k = -1; k <= 1; k++) {
                Vec3 image = rounded+a*i+b*j+c*k;
                if (image.dot(image) < best.dot(best))
                    best = image;
            }
    return best;
}

std::array<Extent, 3> OpenMMNN::findExtents(const vector<Vec3>& positions) {
    std::array<Extent, 3> extents;
    for (int k = 0; k < 3; k++) {
        Extent& extent = extents[k];
        extent = {0.0, 0, 0};
        for (size_t i = 1; i < positions.size(); i++) {
            if (positions[i][k] < positions[extent.first][k])
                extent.first = (int) i;
            if (positions[i][k] > positions[extent.last][k])
                extent.last = (int) i;
        }
        if (!positions.empty())
            extent.length = positions[extent.last][k]-positions[extent.first][k];
    }
    return extents;
}

WholeMaker::WholeMaker(int numAtoms, const vector<pair<int, int> >& bonds) {
    vector<vector<int> > neighbors(numAtoms);
    for (auto& bond : bonds) {
        neighbors[bond.first].push_back(bond.second);
        neighbors[bond.second].push_back(bond.first);
    }
    vector<bool> seen(numAtoms, false);
    for (int start = 0; start < numAtoms; start++) {
        if (seen[start])
            continue;
        vector<Step> steps = {{start, -1}};
        seen[start] = true;
        for (size_t next = 0; next < steps.size(); next++)
            for (int neighbor : neighbors[steps[next].atom])
                if (!seen[neighbor]) {
                    seen[neighbor] = true;
                    steps.push_back({neighbor, steps[next].atom});
                }
        components.push_back(steps);
    }
}

vector<Vec3> WholeMaker::apply(vector<Vec3>& positions, const Box& box) const {
    Vec3 first;
    vector<Vec3> offsets(components.size());
    for (size_t i = 0; i < components.size(); i++) {
        Vec3 centroid;
        for (const Step& step : components[i]) {
            if (step.parent != -1)
                positions[step.atom] = positions[step.parent]+box.minimumImage(positions[step.atom]-positions[step.parent]);
            centroid += positions[step.atom];
        }
        centroid /= (double) components[i].size();
        if (i == 0) {
            first = centroid;
            continue;
        }
        offsets[i] = box.nearestImage(centroid-first);
        Vec3 shift = first+offsets[i]-centroid;
        for (const Step& step : components[i])
            positions[step.atom] += shift;
    }
    return offsets;
}
