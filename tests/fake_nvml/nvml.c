/* A stand-in for libnvidia-ml.so.1, so that the real pynvml path runs on a machine without a driver.

   The world is the text file named by FAKE_NVML, read anew at each call, so that a test changes it while a
   program runs. A line is one GPU:  UUID NAME TOTAL_MIB USED_MIB PERCENT WATTS CELSIUS CAPABILITY PIDS [ECC_ERRORS]
   NAME has no blanks; PIDS is `-` or process ids with commas, each with `:MIB` if it is known what it has; a line
   that begins with `lost` is a GPU that fell off the bus, one that begins with `mig` and has the same fields then is
   an instance of the GPU above it. A line `driver VERSION CUDA` (12020: 12.2) is the driver itself, `modes PERSISTENCE
   ECC MIG` (0 or 1) are those of all GPUs, `set INDEX WHAT VALUE` one setting of one: compute, persistence, ecc and mig (after
   the next reset), clock, memory_clock (MHz), limit (W). A world that is a pipe without a writer is a driver that hangs. Beside it, a file with `.xid` after the name has a line `INDEX XID [INSTANCE]` for
   each event, in order. Return codes: https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND = 6, INSUFFICIENT_SIZE, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15 };
enum { MAX_GPUS = 16, MAX_PIDS = 64 };

typedef struct {
    char uuid[96], name[96];
    unsigned long long total_mib, used_mib;
    unsigned percent, watts;
    int celsius, major, minor, lost, pid_count, counts_ecc, divided, parent, instance;
    unsigned long long ecc_errors, pid_mib[MAX_PIDS];
    unsigned pids[MAX_PIDS];
} Gpu;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } ProcessInfo;

static __thread Gpu gpus[MAX_GPUS];
static __thread int count, cuda, modes[3];
static __thread char version[80];
enum { COMPUTE, PERSISTENCE, ECC, MIG, CLOCK, MEMORY_CLOCK, LIMIT, SETTINGS };
static const char *const setting_names[SETTINGS] = {"compute", "persistence", "ecc", "mig", "clock", "memory_clock", "limit"};
static __thread int settings[MAX_GPUS][SETTINGS]; /* by index; -1: not set */

static int read_setting(const char *line) {
    char name[32];
    int index, value;
    if (sscanf(line, "set %d %31s %d", &index, name, &value) < 3 || index < 0 || index >= MAX_GPUS) return 0;
    for (int i = 0; i < SETTINGS; i++)
        if (!strcmp(name, setting_names[i])) settings[index][i] = value;
    return 1;
}

static void read_pids(Gpu *gpu, char *words) {
    char *rest;
    for (char *word = strtok_r(words, ",", &rest); word && gpu->pid_count < MAX_PIDS; word = strtok_r(NULL, ",", &rest))
        if (*word != '-') {
            char *mib = strchr(word, ':');
            gpu->pid_mib[gpu->pid_count] = mib ? strtoull(mib + 1, NULL, 10) : 0;
            gpu->pids[gpu->pid_count++] = (unsigned)atoi(word);
        }
}

static int load(void) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[1024], pids[512];
    if (!file) return DRIVER_NOT_LOADED;
    count = 0, cuda = 13000, strcpy(version, "580.00");
    modes[0] = modes[1] = 1, modes[2] = 0;
    memset(settings, -1, sizeof settings);
    int whole = -1;
    while (count < MAX_GPUS && fgets(line, sizeof line, file)) {
        Gpu *gpu = &gpus[count];
        if (sscanf(line, "driver %79s %d", version, &cuda) == 2) continue;
        if (sscanf(line, "modes %d %d %d", &modes[0], &modes[1], &modes[2]) == 3) continue;
        if (read_setting(line)) continue;
        memset(gpu, 0, sizeof *gpu);
        gpu->parent = strncmp(line, "mig ", 4) ? -1 : whole;
        if (gpu->parent < 0) whole = count; else gpu->instance = gpus[whole].divided++;
        if (!strncmp(line, "lost", 4)) { gpu->lost = 1; count++; continue; }
        int fields = sscanf(line + (gpu->parent < 0 ? 0 : 4), "%95s %95s %llu %llu %u %u %d %d.%d %511s %llu", gpu->uuid, gpu->name, &gpu->total_mib, &gpu->used_mib,
                            &gpu->percent, &gpu->watts, &gpu->celsius, &gpu->major, &gpu->minor, pids, &gpu->ecc_errors);
        if (fields < 10) continue;
        gpu->counts_ecc = fields == 11;
        read_pids(gpu, pids);
        count++;
    }
    fclose(file);
    return SUCCESS;
}

static int find(void *handle, Gpu **gpu) {
    int error = load();
    size_t index = (size_t)handle - 1;
    if (error) return error;
    if (index >= (size_t)count) return INVALID_ARGUMENT;
    *gpu = &gpus[index];
    return (*gpu)->lost ? GPU_IS_LOST : SUCCESS;
}

static int copy(char *out, unsigned size, const char *text) {
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}

#define WITH_GPU(handle) Gpu *gpu; int error = find(handle, &gpu); if (error) return error

int nvmlInitWithFlags(unsigned flags) { (void)flags; return load(); }
int nvmlInit_v2(void) { return load(); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Error"; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { int error = load(); return error ? error : copy(out, size, version); }
int nvmlSystemGetCudaDriverVersion(int *out) { int error = load(); *out = cuda; return error; }
static int part(int parent, int number) { /* the number-th whole GPU (parent -1), or instance of one */
    for (int i = 0; i < count; i++)
        if (gpus[i].parent == parent && number-- == 0) return i;
    return -1;
}
int nvmlDeviceGetCount_v2(unsigned *out) {
    int error = load();
    for (*out = 0; part(-1, (int)*out) >= 0;) ++*out;
    return error;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    int error = load(), at = error ? -1 : part(-1, (int)index);
    if (error) return error;
    *handle = (void *)(size_t)(at + 1);
    return at < 0 ? INVALID_ARGUMENT : gpus[at].lost ? GPU_IS_LOST : SUCCESS;
}
static int setting(const Gpu *gpu, int which, int otherwise) {
    int index = 0;
    for (int i = 0; i < gpu - gpus; i++) index += gpus[i].parent < 0;
    return settings[index][which] < 0 ? otherwise : settings[index][which];
}
int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *next) {
    WITH_GPU(handle);
    *now = gpu->divided > 0 || modes[2];
    *next = (unsigned)setting(gpu, MIG, (int)*now);
    return gpu->parent < 0 ? SUCCESS : NOT_SUPPORTED;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *out) { WITH_GPU(handle); *out = 7; return gpu->divided || modes[2] ? SUCCESS : NOT_SUPPORTED; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **out) {
    WITH_GPU(handle);
    int at = part((int)(gpu - gpus), (int)index);
    *out = (void *)(size_t)(at + 1);
    return at < 0 ? NOT_FOUND : SUCCESS;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *handle, void **out) {
    WITH_GPU(handle);
    *out = (void *)(size_t)(gpu->parent + 1);
    return gpu->parent < 0 ? INVALID_ARGUMENT : SUCCESS;
}
int nvmlDeviceGetGpuInstanceId(void *handle, unsigned *out) { WITH_GPU(handle); *out = (unsigned)gpu->instance + 7; return gpu->parent < 0 ? NOT_SUPPORTED : SUCCESS; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    int error = load();
    if (error) return error;
    for (int i = 0; i < count; i++)
        if (!strcmp(gpus[i].uuid, uuid)) { *handle = (void *)(size_t)(i + 1); return gpus[i].lost ? GPU_IS_LOST : SUCCESS; }
    return NOT_FOUND;
}
int nvmlDeviceGetUUID(void *handle, char *out, unsigned size) { WITH_GPU(handle); return copy(out, size, gpu->uuid); }
int nvmlDeviceGetName(void *handle, char *out, unsigned size) { WITH_GPU(handle); return copy(out, size, gpu->name); }
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    WITH_GPU(handle);
    *major = gpu->major, *minor = gpu->minor;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    WITH_GPU(handle);
    memory->total = gpu->total_mib << 20, memory->used = gpu->used_mib << 20, memory->free = memory->total - memory->used;
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(void *handle, int type, unsigned *mhz) { WITH_GPU(handle); (void)type; *mhz = 1980; return gpu->parent < 0 ? SUCCESS : NOT_SUPPORTED; }
int nvmlDeviceGetUtilizationRates(void *handle, Utilization *use) { WITH_GPU(handle); if (gpu->parent >= 0) return NOT_SUPPORTED; use->gpu = gpu->percent, use->memory = 0; return SUCCESS; }
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) { WITH_GPU(handle); *milliwatts = gpu->watts * 1000; return SUCCESS; }
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) { WITH_GPU(handle); (void)sensor; *celsius = (unsigned)gpu->celsius; return SUCCESS; }
int nvmlDeviceGetPersistenceMode(void *handle, int *out) { WITH_GPU(handle); *out = setting(gpu, PERSISTENCE, modes[0]); return SUCCESS; }
int nvmlDeviceGetEccMode(void *handle, int *now, int *next) { WITH_GPU(handle); *now = modes[1], *next = setting(gpu, ECC, modes[1]); return SUCCESS; }
int nvmlDeviceGetComputeMode(void *handle, int *out) { WITH_GPU(handle); *out = setting(gpu, COMPUTE, 0); return SUCCESS; }
int nvmlDeviceGetApplicationsClock(void *handle, int type, unsigned *mhz) { WITH_GPU(handle); *mhz = (unsigned)(type ? setting(gpu, MEMORY_CLOCK, 2619) : setting(gpu, CLOCK, 1980)); return SUCCESS; }
int nvmlDeviceGetPowerManagementLimit(void *handle, unsigned *milliwatts) { WITH_GPU(handle); *milliwatts = (unsigned)setting(gpu, LIMIT, 700) * 1000; return SUCCESS; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *size, ProcessInfo *out) {
    WITH_GPU(handle);
    unsigned room = *size;
    *size = (unsigned)gpu->pid_count;
    if (room < *size) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *size; i++) out[i] = (ProcessInfo){gpu->pids[i], gpu->pid_mib[i] << 20, ~0u, ~0u};
    return SUCCESS;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *size, ProcessInfo *out) { (void)out; WITH_GPU(handle); *size = 0; return SUCCESS; }
int nvmlDeviceGetTotalEccErrors(void *handle, int type, int counter, unsigned long long *out) {
    WITH_GPU(handle);
    (void)type, (void)counter;
    *out = gpu->ecc_errors;
    return gpu->counts_ecc ? SUCCESS : NOT_SUPPORTED;
}

typedef struct { void *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } Event;
static int told; /* events, by this process */

int nvmlEventSetCreate(void **set) { *set = &told; return SUCCESS; }
int nvmlEventSetFree(void *set) { (void)set; return SUCCESS; }
int nvmlDeviceRegisterEvents(void *handle, unsigned long long types, void *set) { (void)types, (void)set; WITH_GPU(handle); return SUCCESS; }
int nvmlEventSetWait_v2(void *set, Event *event, unsigned timeout_ms) {
    char path[1024];
    char line[64];
    unsigned index, xid, instance;
    int seen = 0, found = TIMEOUT;
    (void)set, (void)timeout_ms;
    snprintf(path, sizeof path, "%s.xid", getenv("FAKE_NVML") ? getenv("FAKE_NVML") : "");
    FILE *file = fopen(path, "r");
    if (!file) return TIMEOUT;
    while (found == TIMEOUT && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%u %u %u", &index, &xid, &instance) < 3) instance = ~0u;
        else instance += 7;
        if (seen++ == told) {
            *event = (Event){(void *)(size_t)(index + 1), 8, xid, instance, ~0u};
            told++, found = SUCCESS;
        }
    }
    fclose(file);
    return found;
}
