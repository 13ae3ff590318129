// pi by the midpoint rule, its steps divided among threads. The argument is the number of steps.
#include <cstdio>
#include <cstdlib>

#include <omp.h>

int main(int argc, char** argv) {
    const long steps = argc > 1 ? std::atol(argv[1]) : 100000000;
    if (steps <= 0) {
        std::fprintf(stderr, "usage: app [STEPS]\n");
        return 2;
    }
    const double start = omp_get_wtime();
    double sum = 0;
    int threads = 1;
#pragma omp parallel reduction(+ : sum)
    {
#pragma omp single
        threads = omp_get_num_threads();
#pragma omp for
        for (long i = 0; i < steps; ++i) {
            const double x = (i + 0.5) / steps;
            sum += 4 / (1 + x * x);
        }
    }
    std::printf("pi = %.10f with %d threads in %.2f s\n", sum / steps, threads, omp_get_wtime() - start);
}
