// y = a x + y on the GPU, compared with what it must be. The argument is the length of the vectors.
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call) check(call, #call, __LINE__)

static void check(cudaError_t status, const char* call, int line) {
    if (status == cudaSuccess) return;
    std::fprintf(stderr, "main.cu:%d: %s: %s\n", line, call, cudaGetErrorString(status));
    std::exit(1);
}

__global__ void saxpy(int n, float a, const float* x, float* y) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}

int main(int argc, char** argv) {
    const int n = argc > 1 ? std::atoi(argv[1]) : 1 << 24;
    if (n <= 0) {
        std::fprintf(stderr, "usage: app [LENGTH]\n");
        return 2;
    }
    const size_t size = n * sizeof(float);
    std::vector<float> ones(n, 1), y(n, 2);
    float *gpu_x = nullptr, *gpu_y = nullptr;
    CHECK(cudaMalloc(&gpu_x, size));
    CHECK(cudaMalloc(&gpu_y, size));
    CHECK(cudaMemcpy(gpu_x, ones.data(), size, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(gpu_y, y.data(), size, cudaMemcpyHostToDevice));

    const int threads = 256;
    saxpy<<<(n - 1) / threads + 1, threads>>>(n, 3, gpu_x, gpu_y);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(y.data(), gpu_y, size, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(gpu_x));
    CHECK(cudaFree(gpu_y));

    int wrong = 0;
    for (const float value : y) wrong += value != 5;
    cudaDeviceProp gpu;
    CHECK(cudaGetDeviceProperties(&gpu, 0));
    std::printf("saxpy of %d elements on %s: %d wrong\n", n, gpu.name, wrong);
    return wrong > 0;
}
