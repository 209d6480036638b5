#include "Worker.h"

using namespace OpenMMNN;

Worker::Worker(std::function<void()> task) : task(std::move(task)), state(Idle) {
    thread = std::thread([this] { loop(); });
}

Worker::~Worker() {
    {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [this] { return state == Idle; });
        state = Stopping;
    }
    changed.notify_all();
    thread.join();
}

void Worker::start() {
    {
        std::lock_guard<std::mutex> lock(mutex);
        state = Running;
    }
    changed.notify_all();
}

void Worker::wait() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return state == Idle; });
    if (error) {
        std::exception_ptr thrown;
        std::swap(thrown, error);
        std::rethrow_exception(thrown);
    }
}

void Worker::loop() {
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
        changed.wait(lock, [this] { return state != Idle; });
        if (state == Stopping)
            return;
        lock.unlock();
        std::exception_ptr thrown;
        try {
            task();
        }
        catch (...) {
            thrown = std::current_exception();
        }
        lock.lock();
        error = thrown;
        state = Idle;
        changed.notify_all();
    }
}
