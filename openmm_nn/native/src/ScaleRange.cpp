#include "openmm_nn/ScaleRange.h"
#include "openmm/OpenMMException.h"
#include <cmath>
#include <sstream>

using namespace OpenMMNN;
using OpenMM::OpenMMException;
using std::string;

static string text(double value) {
    std::ostringstream stream;
    stream << value;
    return stream.str();
}

bool ScaleRange::isLimited() const {
    return std::isfinite(minimum) || std::isfinite(maximum);
}

void ScaleRange::validate() const {
    if (!(minimum <= maximum))
        throw OpenMMException("setScaleRange: got "+text(minimum)+" to "+text(maximum)+"; allowed: a minimum that is not above the maximum. To fix: exchange them.");
}

void ScaleRange::check(const string& parameter, double value) const {
    if (std::isfinite(value) && value >= minimum && value <= maximum)
        return;
    throw OpenMMException(parameter+": got "+text(value)+"; allowed: "+(isLimited() ? text(minimum)+" to "+text(maximum) : string("finite numbers"))+
            ". To fix: set another value"+(isLimited() && std::isfinite(value) ? ", or call setScaleRange(minimum, maximum) of every force of this plugin that has the parameter" : "")+".");
}
