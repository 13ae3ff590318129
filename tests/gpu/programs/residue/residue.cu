// Whether one program finds in the GPU's memory what another has left there.
//
//     ./residue fill KEY   writes the word KEY (16 hexadecimal digits) to nearly all memory, and ends without a free
//     ./residue look KEY   takes nearly all memory, writes nothing, and counts the words that are KEY
//
// Both take as much as they get in pieces of 256 MiB, then in smaller ones. `fill` shows that its counting finds
// what is there, and what the same program finds after it has freed its memory and taken it again: that is what
// there is to be seen where nobody cleans up. By chance, 10 ** 10 words hold a given one with 6e-10.
//
//     residue: fill: 79104 MiB of 81079 MiB on 6d9f0e2a-…: 10368319488 of 10368319488 words are the key, 10368319488 are not zero
//     residue: again: 79104 MiB of 81079 MiB on 6d9f0e2a-…: 0 of 10368319488 words are the key, 0 are not zero
//     residue: look: 79104 MiB of 81079 MiB on 6d9f0e2a-…: 0 of 10368319488 words are the key, 0 are not zero

#include <cstring>
#include <vector>

#include "check.cuh"

using Word = unsigned long long;
struct Piece {
    Word* words;
    size_t n;
};
struct Counts {
    Word key, not_zero;
};

__global__ void write(Word* words, size_t n, Word key) {
    const size_t step = size_t(gridDim.x) * blockDim.x;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) words[i] = key;
}

__global__ void count(const Word* words, size_t n, Word key, Counts* counts) {
    const size_t step = size_t(gridDim.x) * blockDim.x;
    Counts mine{0, 0};
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
        mine.key += words[i] == key;
        mine.not_zero += words[i] != 0;
    }
    if (mine.key) atomicAdd(&counts->key, mine.key);
    if (mine.not_zero) atomicAdd(&counts->not_zero, mine.not_zero);
}

// Before anything is taken: the counters themselves, and the kernels, which are loaded at their first use.
Counts* prepare() {
    Counts* counts = nullptr;
    CHECK(cudaMalloc(&counts, sizeof(Counts)));
    CHECK(cudaMemset(counts, 0, sizeof(Counts)));
    write<<<1, 1>>>(nullptr, 0, 0);
    count<<<1, 1>>>(nullptr, 0, 0, counts);
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());
    return counts;
}

std::vector<Piece> take_nearly_all() {
    void* spare = nullptr;  // the runtime may need a little while all is taken
    CHECK(cudaMalloc(&spare, size_t{16} << 20));
    std::vector<Piece> pieces;
    for (size_t bytes = size_t{256} << 20; bytes >= size_t{2} << 20; bytes /= 2) {
        Word* words = nullptr;
        cudaError_t status;
        while ((status = cudaMalloc(&words, bytes)) == cudaSuccess) pieces.push_back({words, bytes / sizeof(Word)});
        if (status != cudaErrorMemoryAllocation) CHECK(status);
        cudaGetLastError();  // it is full, which was the aim: the error is taken back
    }
    CHECK(cudaFree(spare));
    return pieces;
}

void tell(const char* what, const std::vector<Piece>& pieces, Word key, Counts* counts) {
    CHECK(cudaMemset(counts, 0, sizeof(Counts)));
    size_t n = 0, free_bytes = 0, all_bytes = 0;
    for (const Piece& piece : pieces) {
        count<<<1024, 256>>>(piece.words, piece.n, key, counts);
        n += piece.n;
    }
    CHECK(cudaGetLastError());
    Counts found;
    CHECK(cudaMemcpy(&found, counts, sizeof found, cudaMemcpyDeviceToHost));
    CHECK(cudaMemGetInfo(&free_bytes, &all_bytes));
    std::printf("residue: %s: %zu MiB of %zu MiB on %s: %llu of %zu words are the key, %llu are not zero\n", what,
                n * sizeof(Word) >> 20, all_bytes >> 20, uuid_of(0).c_str(), found.key, n, found.not_zero);
    std::fflush(stdout);
}

int main(int argc, char** argv) {
    const Word key = argc > 2 ? std::strtoull(argv[2], nullptr, 16) : 0;
    const bool fills = argc > 1 && std::strcmp(argv[1], "fill") == 0;
    const bool looks = argc > 1 && std::strcmp(argv[1], "look") == 0;
    if (key == 0 || !(fills || looks)) {
        std::fprintf(stderr, "residue: fill KEY, or look KEY; KEY is not 0\n");
        return 2;
    }
    Counts* counts = prepare();
    std::vector<Piece> pieces = take_nearly_all();
    if (looks) {
        tell("look", pieces, key, counts);
        return 0;
    }
    for (int turn = 0; turn < 2; ++turn) {
        for (const Piece& piece : pieces) write<<<1024, 256>>>(piece.words, piece.n, key);
        CHECK(cudaGetLastError());
        CHECK(cudaDeviceSynchronize());
        if (turn == 1) break;  // what this turn has written is what it leaves behind
        tell("fill", pieces, key, counts);
        for (const Piece& piece : pieces) CHECK(cudaFree(piece.words));
        pieces = take_nearly_all();
        tell("again", pieces, key, counts);
    }
    return 0;
}
