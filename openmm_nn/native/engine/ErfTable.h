#ifndef OPENMM_NN_ERFTABLE_H_
#define OPENMM_NN_ERFTABLE_H_

#include <array>
#include <vector>

namespace OpenMMNN {

/**
 * erf(sqrt(u))/sqrt(u), which is smooth in u down to zero, by polynomials of degree 7: to 1e-13, without the square root,
 * the exponential and the error function that make up the cost of a pair beyond the cutoff.  The derivative is that of
 * the polynomials.
 */
class ErfTable {
public:
    ErfTable();
    /** From here on the error function is 1 in double precision. */
    static constexpr double end = 36.0;
    /** The value and its derivative by u, for 0 <= u < end. */
    void evaluate(double u, double& value, double& derivative) const {
        const int bin = (int) (u*binsPerUnit);
        const double t = (u*binsPerUnit-bin)*2.0-1.0;
        const double* c = bins[bin].data();
        value = c[0]+t*(c[1]+t*(c[2]+t*(c[3]+t*(c[4]+t*(c[5]+t*(c[6]+t*c[7]))))));
        derivative = (2.0*binsPerUnit)*(c[1]+t*(2.0*c[2]+t*(3.0*c[3]+t*(4.0*c[4]+t*(5.0*c[5]+t*(6.0*c[6]+t*7.0*c[7]))))));
    }
private:
    static constexpr int binsPerUnit = 4, terms = 8;
    std::vector<std::array<double, terms> > bins;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_ERFTABLE_H_
