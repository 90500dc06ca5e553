/* A stand-in for NVIDIA's management library, so that the binding itself can be run without a GPU.

   FAKE_NVML names a file with a line for each GPU: its free bytes, then the pids computing on it.
   It is read anew by each nvmlInit; where it is missing, the driver does not answer. A line may be
   a word instead: "lost", "mig" (in parts that others may not look at), or "shared" (it computes in
   the host's memory).

   FAKE_NVML_LOAD names another, read anew by each question, with a line for each GPU: utilisation
   (%), power (mW), temperature (°C), energy (mJ). What is missing there is not supported; a line
   that begins with "hang" does not answer at all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SUCCESS = 0,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
    MOST = 16
};
enum { UTILISATION, POWER, TEMPERATURE, ENERGY, COLUMNS };

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilisation;
typedef struct {
    unsigned int pid;
    unsigned long long used;
    unsigned int gpu_instance, compute_instance;
} Process;
typedef struct { unsigned long long free; unsigned int pids[MOST], count; char word; } Gpu;

static Gpu gpus[MOST];
static unsigned int count;

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file)
        return DRIVER_NOT_LOADED;
    char line[512];
    for (count = 0; count < MOST && fgets(line, sizeof line, file); count++) {
        char *rest = line;
        gpus[count] = (Gpu){.word = line[0], .free = strtoull(rest, &rest, 10)};
        for (char *end; gpus[count].count < MOST; rest = end) {
            unsigned long pid = strtoul(rest, &end, 10);
            if (end == rest)
                break;
            gpus[count].pids[gpus[count].count++] = (unsigned int)pid;
        }
    }
    fclose(file);
    return SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int result) {
    if (result == NOT_SUPPORTED)
        return "Not Supported";
    if (result == NO_PERMISSION)
        return "Insufficient Permissions";
    if (result == GPU_IS_LOST)
        return "GPU is lost";
    return result == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Unknown Error";
}

int nvmlDeviceGetCount_v2(unsigned int *result) {
    *result = count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Gpu **result) {
    if (index >= count)
        return INVALID_ARGUMENT;
    *result = &gpus[index];
    return gpus[index].word == 'l' ? GPU_IS_LOST : SUCCESS;
}

int nvmlDeviceGetUUID(const Gpu *gpu, char *result, unsigned int room) {
    snprintf(result, room, "GPU-%ld-of-the-tests", (long)(gpu - gpus));
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *result) {
    if (gpu->word == 's')
        return NOT_SUPPORTED;
    *result = (Memory){.total = 80000000000ULL, .free = gpu->free, .used = 80000000000ULL - gpu->free};
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned int *room, Process *result) {
    if (gpu->word == 'm')
        return NO_PERMISSION;
    unsigned int given = *room;
    *room = gpu->count;
    if (given < gpu->count)
        return INSUFFICIENT_SIZE;
    for (unsigned int i = 0; i < gpu->count; i++)
        result[i] = (Process){.pid = gpu->pids[i]};
    return SUCCESS;
}

static int ask(const Gpu *gpu, int column, unsigned long long *result) {
    const char *path = getenv("FAKE_NVML_LOAD");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file)
        return NOT_SUPPORTED;
    char line[512], *rest = line, *end;
    int there = 1;
    for (long number = gpu - gpus; number >= 0 && there; number--)
        there = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    while (there && strncmp(line, "hang", 4) == 0)
        pause();
    for (int i = 0; there && i <= column; i++, rest = end) {
        *result = strtoull(rest, &end, 10);
        there = end != rest;
    }
    return there ? SUCCESS : NOT_SUPPORTED;
}

static int ask_number(const Gpu *gpu, int column, unsigned int *result) {
    unsigned long long answer = 0;
    int status = ask(gpu, column, &answer);
    *result = (unsigned int)answer;
    return status;
}

int nvmlDeviceGetUtilizationRates(Gpu *gpu, Utilisation *result) {
    return ask_number(gpu, UTILISATION, &result->gpu);
}

int nvmlDeviceGetPowerUsage(Gpu *gpu, unsigned int *result) {
    return ask_number(gpu, POWER, result);
}

int nvmlDeviceGetTemperature(Gpu *gpu, unsigned int sensor, unsigned int *result) {
    (void)sensor;
    return ask_number(gpu, TEMPERATURE, result);
}

int nvmlDeviceGetTotalEnergyConsumption(Gpu *gpu, unsigned long long *result) {
    return ask(gpu, ENERGY, result);
}
