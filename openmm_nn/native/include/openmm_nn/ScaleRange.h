#ifndef OPENMM_NN_SCALERANGE_H_
#define OPENMM_NN_SCALERANGE_H_

#include "windowsExportNN.h"
#include <limits>
#include <string>

namespace OpenMMNN {

/** The values that a scale parameter may have. */
struct OPENMM_EXPORT_NN ScaleRange {
    double minimum = -std::numeric_limits<double>::infinity(), maximum = std::numeric_limits<double>::infinity();
    /** Whether anything finite is outside of it. */
    bool isLimited() const;
    /** Throws an OpenMMException unless minimum <= maximum. */
    void validate() const;
    /** Throws an OpenMMException if a value of the parameter is not finite or outside the range. */
    void check(const std::string& parameter, double value) const;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_SCALERANGE_H_
