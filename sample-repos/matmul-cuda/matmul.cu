// Multiplies two square matrices on the GPU, tile by tile through shared memory, as in the CUDA C++
// Programming Guide (https://docs.nvidia.com/cuda/cuda-c-programming-guide/#shared-memory).
//
//     ./matmul [n]
//
// Sampled entries are compared with a dot product in double precision. However the GPU orders the
// additions, the error of one entry is at most n · u / (1 - n · u) · Σ |a| |b|, u = 2⁻²⁴
// (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1).
//
// Prints:
//
//     matmul: 4096 x 4096, 1000 entries checked, 0 wrong
//     matmul: <number> GFLOP/s on <name of the GPU>
//
// The exit code is 1 if an entry is wrong, or if there is no GPU.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

constexpr int tile = 32;

#define CHECK(call) check(call, #call, __LINE__)

void check(cudaError_t status, const char* call, int line) {
    if (status == cudaSuccess) return;
    std::fprintf(stderr, "matmul: line %d: %s: %s\n", line, call, cudaGetErrorString(status));
    std::exit(1);
}

// One block computes one tile of c. Its threads load a tile of a and one of b together, each a
// single entry, and then read every entry `tile` times from fast shared memory.
__global__ void multiply(const float* a, const float* b, float* c, int n) {
    __shared__ float tile_a[tile][tile], tile_b[tile][tile];
    const int x = threadIdx.x, y = threadIdx.y;
    const int row = blockIdx.y * tile + y, column = blockIdx.x * tile + x;
    float sum = 0;
    for (int k = 0; k < n; k += tile) {
        tile_a[y][x] = row < n && k + x < n ? a[size_t(row) * n + k + x] : 0;
        tile_b[y][x] = k + y < n && column < n ? b[size_t(k + y) * n + column] : 0;
        __syncthreads();
        for (int i = 0; i < tile; ++i) sum += tile_a[y][i] * tile_b[i][x];
        __syncthreads();
    }
    if (row < n && column < n) c[size_t(row) * n + column] = sum;
}

cudaDeviceProp first_gpu() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) {
        std::fprintf(stderr, "matmul: no usable GPU: %s\n", cudaGetErrorString(status));
        std::exit(1);
    }
    cudaDeviceProp gpu;
    CHECK(cudaGetDeviceProperties(&gpu, 0));
    return gpu;
}

std::vector<float> random_matrix(int n, unsigned seed) {
    std::mt19937 random{seed};
    std::uniform_real_distribution<float> entry{-1, 1};
    std::vector<float> matrix(size_t(n) * n);
    for (float& value : matrix) value = entry(random);
    return matrix;
}

float* on_gpu(const std::vector<float>& values) {
    float* copy = nullptr;
    CHECK(cudaMalloc(&copy, values.size() * sizeof(float)));
    CHECK(cudaMemcpy(copy, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice));
    return copy;
}

// The milliseconds of one multiplication, after a first one that also loads the kernel.
float time_multiply(const float* a, const float* b, float* c, int n) {
    const dim3 threads(tile, tile), blocks((n + tile - 1) / tile, (n + tile - 1) / tile);
    cudaEvent_t start, stop;
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    multiply<<<blocks, threads>>>(a, b, c, n);
    CHECK(cudaGetLastError());
    CHECK(cudaEventRecord(start));
    multiply<<<blocks, threads>>>(a, b, c, n);
    CHECK(cudaGetLastError());
    CHECK(cudaEventRecord(stop));
    CHECK(cudaEventSynchronize(stop));
    float milliseconds = 0;
    CHECK(cudaEventElapsedTime(&milliseconds, start, stop));
    return milliseconds;
}

bool is_right(const std::vector<float>& a, const std::vector<float>& b, float entry, int n,
              int row, int column) {
    double exact = 0, magnitude = 0;
    for (int k = 0; k < n; ++k) {
        const double product = double(a[size_t(row) * n + k]) * b[size_t(k) * n + column];
        exact += product;
        magnitude += std::fabs(product);
    }
    const double nu = n * std::ldexp(1.0, -24);
    return std::fabs(entry - exact) <= nu / (1 - nu) * magnitude;  // false for NAN
}

int main(int argc, char** argv) {
    const int n = argc > 1 ? std::atoi(argv[1]) : 1024;
    if (n < 1 || n > 32768) {
        std::fprintf(stderr, "matmul: n is a number from 1 to 32768\n");
        return 2;
    }
    const cudaDeviceProp gpu = first_gpu();
    const std::vector<float> a = random_matrix(n, 1), b = random_matrix(n, 2);
    std::vector<float> c(size_t(n) * n, NAN);  // NAN: an entry that nobody writes is noticed

    float *gpu_a = on_gpu(a), *gpu_b = on_gpu(b), *gpu_c = on_gpu(c);
    const float milliseconds = time_multiply(gpu_a, gpu_b, gpu_c, n);
    CHECK(cudaMemcpy(c.data(), gpu_c, c.size() * sizeof(float), cudaMemcpyDeviceToHost));
    for (float* memory : {gpu_a, gpu_b, gpu_c}) CHECK(cudaFree(memory));

    constexpr int samples = 1000;
    std::mt19937 random{3};
    std::uniform_int_distribution<int> index{0, n - 1};
    int wrong = 0;
    for (int i = 0; i < samples; ++i) {
        const int row = index(random), column = index(random);
        wrong += !is_right(a, b, c[size_t(row) * n + column], n, row, column);
    }
    std::printf("matmul: %d x %d, %d entries checked, %d wrong\n", n, n, samples, wrong);
    std::printf("matmul: %.0f GFLOP/s on %s\n", 2.0 * n * n * n / milliseconds / 1e6, gpu.name);
    return wrong > 0;
}
