#ifndef OPENMM_NN_WORKER_H_
#define OPENMM_NN_WORKER_H_

#include "openmm_nn/windowsExportNN.h"
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace OpenMMNN {

/** Runs one task, again and again, on a thread of its own. */
class OPENMM_EXPORT_NN_ENGINE Worker {
public:
    explicit Worker(std::function<void()> task);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    /** Start the task.  The run before must have been waited for. */
    void start();
    /** Wait for the task, and throw here what it threw there. */
    void wait();
private:
    enum State {Idle, Running, Stopping};
    void loop();
    std::function<void()> task;
    std::mutex mutex;
    std::condition_variable changed;
    State state;
    std::exception_ptr error;
    std::thread thread;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_WORKER_H_
