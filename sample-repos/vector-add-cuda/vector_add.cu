// Adds two vectors on the GPU and compares every element with the sum that the CPU computes.
// The kernel is the first one of the CUDA C++ Programming Guide
// (https://docs.nvidia.com/cuda/cuda-c-programming-guide/#kernels).
//
// Prints the verdict and the memory bandwidth (two vectors read and one written per pass):
//
//     vector-add: 16777216 elements, max error 0
//     vector-add: <number> GB/s on <name of the GPU>
//
// The exit code is 1 if an element differs, or if there is no GPU.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call) check(call, #call, __LINE__)

void check(cudaError_t status, const char* call, int line) {
    if (status == cudaSuccess) return;
    std::fprintf(stderr, "vector-add: line %d: %s: %s\n", line, call, cudaGetErrorString(status));
    std::exit(1);
}

__global__ void add(const float* a, const float* b, float* sum, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) sum[i] = a[i] + b[i];
}

cudaDeviceProp first_gpu() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) {
        std::fprintf(stderr, "vector-add: no usable GPU: %s\n", cudaGetErrorString(status));
        std::exit(1);
    }
    cudaDeviceProp gpu;
    CHECK(cudaGetDeviceProperties(&gpu, 0));
    return gpu;
}

float* on_gpu(const std::vector<float>& values) {
    float* copy = nullptr;
    CHECK(cudaMalloc(&copy, values.size() * sizeof(float)));
    CHECK(cudaMemcpy(copy, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice));
    return copy;
}

int main() {
    constexpr int n = 1 << 24, threads = 256, blocks = (n + threads - 1) / threads, passes = 20;
    const cudaDeviceProp gpu = first_gpu();

    std::vector<float> a(n), b(n), sum(n, NAN);  // NAN: an element that nobody writes is noticed
    for (int i = 0; i < n; ++i) {
        a[i] = 0.5f * i;
        b[i] = 1.0f / (i + 1);
    }
    float *gpu_a = on_gpu(a), *gpu_b = on_gpu(b), *gpu_sum = on_gpu(sum);

    cudaEvent_t start, stop;
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    add<<<blocks, threads>>>(gpu_a, gpu_b, gpu_sum, n);  // the first launch also loads the kernel
    CHECK(cudaGetLastError());
    CHECK(cudaEventRecord(start));
    for (int pass = 0; pass < passes; ++pass) add<<<blocks, threads>>>(gpu_a, gpu_b, gpu_sum, n);
    CHECK(cudaGetLastError());
    CHECK(cudaEventRecord(stop));
    CHECK(cudaEventSynchronize(stop));
    float milliseconds = 0;
    CHECK(cudaEventElapsedTime(&milliseconds, start, stop));

    CHECK(cudaMemcpy(sum.data(), gpu_sum, n * sizeof(float), cudaMemcpyDeviceToHost));
    for (float* memory : {gpu_a, gpu_b, gpu_sum}) CHECK(cudaFree(memory));

    int different = 0;
    float max_error = 0;
    for (int i = 0; i < n; ++i) {
        const float expected = a[i] + b[i];
        different += !(sum[i] == expected);  // written so that NAN counts
        max_error = std::fmax(max_error, std::fabs(sum[i] - expected));
    }
    const double gigabytes = 3.0 * n * sizeof(float) * passes / 1e9;
    std::printf("vector-add: %d elements, max error %g\n", n, max_error);
    std::printf("vector-add: %.0f GB/s on %s\n", gigabytes / (milliseconds / 1e3), gpu.name);
    if (different > 0) std::fprintf(stderr, "vector-add: %d elements differ\n", different);
    return different > 0;
}
