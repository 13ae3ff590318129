// pi by the midpoint rule, its steps divided among processes. The argument is the number of steps.
#include <cstdio>
#include <cstdlib>

#include <mpi.h>

int main(int argc, char** argv) {
    MPI_Init(&argc, &argv);
    int rank = 0, size = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);

    const long steps = argc > 1 ? std::atol(argv[1]) : 100000000;
    const double start = MPI_Wtime();
    double sum = 0, total = 0;
    for (long i = rank; i < steps; i += size) {
        const double x = (i + 0.5) / steps;
        sum += 4 / (1 + x * x);
    }
    MPI_Reduce(&sum, &total, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        std::printf("pi = %.10f with %d processes in %.2f s\n", total / steps, size, MPI_Wtime() - start);
    }
    MPI_Finalize();
}
