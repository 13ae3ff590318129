// pi by the midpoint rule: the area below 4 / (1 + x²) from 0 to 1. The argument is the number of steps.
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
    const long steps = argc > 1 ? std::atol(argv[1]) : 1000000;
    if (steps <= 0) {
        std::fprintf(stderr, "usage: app [STEPS]\n");
        return 2;
    }
    double sum = 0;
    for (long i = 0; i < steps; ++i) {
        const double x = (i + 0.5) / steps;
        sum += 4 / (1 + x * x);
    }
    std::printf("pi = %.10f with %ld steps\n", sum / steps, steps);
}
