#ifndef OPENMM_NN_PACKAGE_H_
#define OPENMM_NN_PACKAGE_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace OpenMMNN {

/** A directory that only this user can look into (mode 0700), removed with all that is in it. */
class PrivateDirectory {
public:
    /** Make one in TMPDIR, or in /tmp. */
    PrivateDirectory();
    ~PrivateDirectory();
    PrivateDirectory(const PrivateDirectory&) = delete;
    PrivateDirectory& operator=(const PrivateDirectory&) = delete;
    const std::string& getPath() const {
        return path;
    }
private:
    std::string path;
};

/**
 * An AOTInductor package (.pt2): an archive with a shared library and a description of it.  Reading the description
 * runs nothing of what is inside.
 */
class Package {
public:
    /** Whether these are the bytes of such a package. */
    static bool recognize(const std::string& bytes);
    /** The bytes must live as long as the object. */
    explicit Package(const std::string& bytes);
    ~Package();
    /** An entry of the description, or an empty string. */
    std::string get(const std::string& key) const;
    /** An entry of the description that lists words, separated by spaces. */
    std::vector<std::string> getList(const std::string& key) const;
    bool has(const std::string& key) const;
    /** Whether it holds code of this name: "model" for one thread, and perhaps "parallel" for several. */
    bool hasModel(const std::string& model) const;
    /** Write what the library of a model needs, and the library, into a directory.  Returns the library's path. */
    std::string unpack(const std::string& model, const PrivateDirectory& directory) const;
private:
    class Archive;
    std::unique_ptr<Archive> archive;
    std::map<std::string, std::string> description;
};

/** The features of the processor that this runs on, as the operating system names them; empty if it does not say. */
const std::vector<std::string>& processorFeatures();

} // namespace OpenMMNN

#endif // OPENMM_NN_PACKAGE_H_
