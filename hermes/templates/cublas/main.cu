// C = A B with cuBLAS; all of A is 1 and all of B is 2. The argument is the number of rows and columns.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <cublas_v2.h>

#define CHECK(call) check(call, #call, __LINE__)

static void check(cudaError_t status, const char* call, int line) {
    if (status == cudaSuccess) return;
    std::fprintf(stderr, "main.cu:%d: %s: %s\n", line, call, cudaGetErrorString(status));
    std::exit(1);
}

static void check(cublasStatus_t status, const char* call, int line) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    std::fprintf(stderr, "main.cu:%d: %s: %s\n", line, call, cublasGetStatusString(status));
    std::exit(1);
}

static float* filled(size_t count, float value) {
    const std::vector<float> values(count, value);
    float* there = nullptr;
    CHECK(cudaMalloc(&there, count * sizeof(float)));
    CHECK(cudaMemcpy(there, values.data(), count * sizeof(float), cudaMemcpyHostToDevice));
    return there;
}

int main(int argc, char** argv) {
    const int n = argc > 1 ? std::atoi(argv[1]) : 4096;
    if (n <= 0) {
        std::fprintf(stderr, "usage: app [ROWS]\n");
        return 2;
    }
    const size_t count = size_t(n) * n;
    float *a = filled(count, 1), *b = filled(count, 2), *c = filled(count, 0);
    const float one = 1, zero = 0;
    cublasHandle_t cublas;
    cudaEvent_t start, stop;
    CHECK(cublasCreate(&cublas));
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    const auto multiply = [&] {
        CHECK(cublasSgemm(cublas, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &one, a, n, b, n, &zero, c, n));
    };
    multiply();  // the first one also loads the kernels
    CHECK(cudaEventRecord(start));
    multiply();
    CHECK(cudaEventRecord(stop));
    CHECK(cudaEventSynchronize(stop));
    float milliseconds = 0;
    CHECK(cudaEventElapsedTime(&milliseconds, start, stop));

    std::vector<float> result(count);
    CHECK(cudaMemcpy(result.data(), c, count * sizeof(float), cudaMemcpyDeviceToHost));
    size_t wrong = 0;
    for (const float value : result) wrong += value != 2.0f * n;
    std::printf("sgemm of %d x %d: %.0f GFLOP/s, %zu wrong\n", n, n, 2e-6 * count * n / milliseconds, wrong);
    return wrong > 0;
}
