#include "ErfTable.h"
#include <cmath>

using namespace OpenMMNN;

static double scaledErf(double u) {
    if (u > 0.01) {
        const double x = std::sqrt(u);
        return std::erf(x)/x;
    }
    return 1.1283791670955126*(1.0-u*(1.0/3.0-u*(1.0/10.0-u*(1.0/42.0-u*(1.0/216.0-u/1320.0)))));
}

ErfTable::ErfTable() : bins((int) end*binsPerUnit) {
    // Chebyshev polynomials in powers of t: T_0 = 1, T_1 = t, T_n+1 = 2 t T_n - T_n-1.
    double chebyshev[terms][terms] = {};
    chebyshev[0][0] = chebyshev[1][1] = 1.0;
    for (int n = 2; n < terms; n++)
        for (int power = 0; power < terms; power++)
            chebyshev[n][power] = (power > 0 ? 2.0*chebyshev[n-1][power-1] : 0.0)-chebyshev[n-2][power];
    for (size_t bin = 0; bin < bins.size(); bin++) {
        bins[bin].fill(0.0);
        for (int n = 0; n < terms; n++) {
            double sum = 0.0;
            for (int node = 0; node < terms; node++) {
                const double angle = M_PI*(node+0.5)/terms;
                sum += std::cos(n*angle)*scaledErf((bin+0.5+0.5*std::cos(angle))/binsPerUnit);
            }
            const double weight = sum*(n == 0 ? 1.0 : 2.0)/terms;
            for (int power = 0; power < terms; power++)
                bins[bin][power] += weight*chebyshev[n][power];
        }
    }
}
