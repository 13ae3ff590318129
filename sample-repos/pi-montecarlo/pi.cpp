// Estimates pi by the Monte Carlo method, on several threads.
//
// A point drawn evenly from the unit square lies inside the quarter circle x² + y² < 1 with
// probability pi / 4, so pi is about 4 · hits / samples. The count of hits is binomial, hence the
// standard error is 4 · sqrt(p · (1 - p) / samples) with p = hits / samples
// (https://en.wikipedia.org/wiki/Monte_Carlo_integration#Example).
//
//     ./pi [samples]          THREADS=2 in the environment: how many threads share the work
//
// Prints the estimate, then one `metric name value` line for each measurement:
//
//     pi = 3.141562
//     metric standard_error 2.3e-04
//     metric samples_per_s 1.2e+08

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

using Count = std::uint64_t;

// The seed is the thread's number: the same samples and threads always give the same answer.
Count hits_inside_circle(Count samples, unsigned seed) {
    std::mt19937_64 random{seed};
    std::uniform_real_distribution<double> unit{0.0, 1.0};
    Count hits = 0;
    for (Count i = 0; i < samples; ++i) {
        const double x = unit(random);
        const double y = unit(random);
        hits += x * x + y * y < 1.0;
    }
    return hits;
}

Count hits_of_all_threads(Count samples, unsigned thread_count) {
    std::vector<Count> hits(thread_count);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < thread_count; ++t) {
        const Count share = samples / thread_count + (t < samples % thread_count);
        threads.emplace_back([&hits, share, t] { hits[t] = hits_inside_circle(share, t); });
    }
    Count total = 0;
    for (unsigned t = 0; t < thread_count; ++t) {
        threads[t].join();
        total += hits[t];
    }
    return total;
}

int main(int argc, char** argv) {
    const char* threads = std::getenv("THREADS");
    const long long samples = argc > 1 ? std::atoll(argv[1]) : 1'000'000;
    const int thread_count = threads ? std::atoi(threads) : 1;
    if (samples < 1 || thread_count < 1) {
        std::fprintf(stderr, "pi: samples and THREADS are numbers from 1 up\n");
        return 2;
    }

    const auto start = std::chrono::steady_clock::now();
    const Count hits = hits_of_all_threads(samples, thread_count);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;

    const double p = static_cast<double>(hits) / samples;
    std::printf("pi = %.6f\n", 4 * p);
    std::printf("metric standard_error %.1e\n", 4 * std::sqrt(p * (1 - p) / samples));
    std::printf("metric samples_per_s %.1e\n", samples / elapsed.count());
}
