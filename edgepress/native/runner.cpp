/* Executes .ncnn files where there is no Python: one static program, spoken to over its input and output.
 *
 * A message is a call {"name": ..., "options": {...}} with arrays, the answer {"value": ...} or {"error": ...} with
 * arrays, in the way of wire.h. It ends when its input does. What ncnn prints goes to the standard error. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "datareader.h"
#include "net.h"

#include "measuring.h"
#include "wire.h"

static const int MOST_PLACES = 64; /* inputs, outputs */

/* What went wrong, in the words of edgepress/errors.py. */
struct Failure {
    const char *kind, *what, *hint;
};

/* A file in memory. */
class Mapped {
public:
    explicit Mapped(const char *path) {
        int file = ::open(path, O_RDONLY | O_CLOEXEC);
        struct stat told;
        if (file >= 0 && !fstat(file, &told) && told.st_size) {
            size = told.st_size;
            void *found = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
            data = found == MAP_FAILED ? nullptr : (const unsigned char *)found;
        }
        if (file >= 0)
            close(file);
    }

    ~Mapped() {
        if (data)
            munmap((void *)data, size);
    }

    const unsigned char *data = nullptr;
    size_t size = 0;
};

/* The members of a plain zip that edgepress/joined_file.py wrote: one after the other, nothing compressed. */
struct Member {
    const unsigned char *data;
    size_t size;
};

static uint32_t little(const unsigned char *from, int bytes) {
    uint32_t value = 0;
    while (bytes--)
        value = value << 8 | from[bytes];
    return value;
}

/* The member that begins at `*place`, which is moved behind it; no data where that is no stored member. */
static Member member(const Mapped &file, size_t *place) {
    static const size_t HEADER = 30;
    const unsigned char *header = file.data + *place;
    if (file.size - *place < HEADER || little(header, 4) != 0x04034b50 || little(header + 8, 2))
        return {nullptr, 0};
    const size_t start = *place + HEADER + little(header + 26, 2) + little(header + 28, 2);
    const size_t size = little(header + 18, 4);
    if (start > file.size || size > file.size - start)
        return {nullptr, 0};
    *place = start + size;
    return {file.data + start, size};
}

/* One network, with what goes in and comes out. */
class Network {
public:
    /* Null, or why it cannot be executed. Called once. */
    const Failure *open(const Json &entrant) {
        static const Failure unreadable = {"DeviceFailed", "The file cannot be read.", ""};
        static const Failure foreign = {"BadInput", "This is no .ncnn file.", "convert it again"};
        static const Failure refused = {"BadInput", "The native runner does not load this file.",
                                        "its layers may not be built in: runners with Python have all"};
        file = new Mapped(entrant["path"].words());
        if (!file->data)
            return &unreadable;
        size_t place = 0;
        const Member graph = member(*file, &place), weights = member(*file, &place);
        if (!graph.data || !weights.data)
            return &foreign;
        configure(entrant);
        char *text = strndup((const char *)graph.data, graph.size);
        const unsigned char *bytes = weights.data;
        ncnn::DataReaderFromMemory reader(bytes);
        const int status = net.load_param_mem(text) || net.load_model(reader);
        free(text);
        inputs = entrant["manifest"]["signature"]["inputs"].count();
        outputs = entrant["manifest"]["signature"]["outputs"].count();
        return status || inputs > MOST_PLACES || outputs > MOST_PLACES ? &refused : nullptr;
    }

    ~Network() {
        net.clear();
        delete file;
    }

    const Failure *load_inputs(const Arrays &arrays) {
        static const Failure unfit = {"BadInput", "The inputs do not fit the network.", ""};
        if (arrays.count != inputs)
            return &unfit;
        for (int index = 0; index < inputs; index++) {
            const Array &array = arrays.items[index];
            if (array.axes < 2 || array.axes > 5 || array.shape[0] != 1)
                return &unfit;
            loaded[index] = filled(array);
        }
        return nullptr;
    }

    const Failure *invoke() {
        static const Failure failed = {"DeviceFailed", "ncnn failed to execute.", ""};
        ncnn::Extractor extractor = net.create_extractor();
        begin(&extractor);
        char name[16];
        int status = 0;
        for (int index = 0; index < outputs; index++) {
            snprintf(name, sizeof name, "out%d", index);
            status |= extractor.extract(name, results[index]);
        }
        return status ? &failed : nullptr;
    }

    /* How long each layer takes: {"layers": [[name, type], ...], "runs_ms": [[...], ...]}. ncnn executes no more than it
     * is asked for: so the layers' results are asked for in turn, as they lie. */
    void profile(long runs, JsonWriter *value) const {
        value->raw("{\"layers\": [");
        const char *between = "";
        for (const ncnn::Layer *layer : net.layers()) {
            value->raw(between).raw("[").string(layer->name.c_str()).raw(", ");
            value->string(layer->type.c_str()).raw("]");
            between = ", ";
        }
        value->raw("], \"runs_ms\": [");
        for (long run = 0; run < runs; run++) {
            value->raw(run ? ", [" : "[");
            run_layers(value);
            value->raw("]");
        }
        value->raw("]}");
    }

    void read_outputs(Arrays *arrays) const {
        arrays->count = outputs;
        for (int index = 0; index < outputs; index++)
            emptied(results[index], &arrays->items[index]);
    }

private:
    Mapped *file = nullptr; /* the weights stay there: the net reads them in place */
    ncnn::Net net;
    int inputs = 0, outputs = 0;
    ncnn::Mat loaded[MOST_PLACES], results[MOST_PLACES];

    void run_layers(JsonWriter *times) const {
        static const int AS_IT_LIES = 1;
        ncnn::Extractor extractor = net.create_extractor();
        extractor.set_light_mode(false);
        begin(&extractor);
        const char *between = "";
        for (const ncnn::Layer *layer : net.layers()) {
            const double started = wall_ms();
            for (const int top : layer->tops) {
                ncnn::Mat result;
                extractor.extract(top, result, AS_IT_LIES);
            }
            times->raw(between).number(wall_ms() - started);
            between = ", ";
        }
    }

    void begin(ncnn::Extractor *extractor) const {
        char name[16];
        for (int index = 0; index < inputs; index++) {
            snprintf(name, sizeof name, "in%d", index);
            extractor->input(name, loaded[index]);
        }
    }

    /* As edgepress/runtime/on_ncnn.py: a float32 file is executed in float32, whatever the processor has. */
    void configure(const Json &entrant) {
        const bool narrow = strcmp(entrant["manifest"]["precision"].words(), "float32") != 0;
        net.opt.num_threads = entrant["threads"].whole() > 0 ? entrant["threads"].whole() : 1;
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = narrow;
        net.opt.use_bf16_storage = net.opt.use_bf16_packed = false;
    }

    /* The array without its batch axis. A channel of a Mat begins at an aligned address: so each is copied alone. */
    static ncnn::Mat filled(const Array &array) {
        const int axes = array.axes - 1;
        const int *shape = array.shape + 1;
        ncnn::Mat made;
        if (axes == 1)
            made.create(shape[0]);
        else if (axes == 2)
            made.create(shape[1], shape[0]);
        else if (axes == 3)
            made.create(shape[2], shape[1], shape[0]);
        else
            made.create(shape[3], shape[2], shape[1], shape[0]);
        const size_t channel = (size_t)made.w * made.h * made.d;
        for (int index = 0; index < made.c; index++)
            memcpy((float *)made.channel(index), (const float *)array.data + index * channel, 4 * channel);
        return made;
    }

    static void emptied(const ncnn::Mat &value, Array *array) {
        const int shape[] = {1, value.c, value.d, value.h, value.w};
        array->axes = 1 + value.dims;
        array->shape[0] = 1;
        for (int axis = 0; axis < value.dims; axis++) {
            const bool is_channel = value.dims > 2 && !axis;
            array->shape[1 + axis] = is_channel ? shape[1] : shape[5 - value.dims + axis];
        }
        free(array->data);
        array->data = malloc(array->bytes());
        const size_t channel = (size_t)value.w * value.h * value.d;
        for (int index = 0; index < value.c; index++)
            memcpy((float *)array->data + index * channel, (const float *)value.channel(index), 4 * channel);
    }
};

/* What can be called, and what answers. */
class Agent {
public:
    Agent() : before_kb(status_kb("VmRSS")) {}
    ~Agent() { delete network; }

    /* Null and the value written, or what went wrong. */
    const Failure *answer(const Json &call, Arrays *arrays, JsonWriter *value) {
        static const Failure unknown = {"DeviceFailed", "The native runner has no such call.", ""};
        const char *name = call["name"].words();
        const Json &options = call["options"];
        if (!strcmp(name, "hello"))
            return hello(arrays, value);
        if (!strcmp(name, "open"))
            return open(options, arrays, value);
        if (network && !strcmp(name, "load_inputs"))
            return done(network->load_inputs(*arrays), arrays, value);
        if (network && !strcmp(name, "invoke"))
            return invoke(options["runs"].whole(), arrays, value);
        if (network && !strcmp(name, "read_outputs")) {
            network->read_outputs(arrays);
            value->raw("null");
            return nullptr;
        }
        if (network && !strcmp(name, "profile")) {
            arrays->count = 0;
            network->profile(options["runs"].whole(), value);
            return nullptr;
        }
        return &unknown;
    }

private:
    Network *network = nullptr;
    InstructionCounter counter;
    long before_kb;

    static const Failure *done(const Failure *failure, Arrays *arrays, JsonWriter *value) {
        arrays->count = 0;
        value->raw("null");
        return failure;
    }

    const Failure *hello(Arrays *arrays, JsonWriter *value) {
        arrays->count = 0;
        utsname system;
        uname(&system);
        char kernel[2 * sizeof system.release];
        snprintf(kernel, sizeof kernel, "%s %s", system.sysname, system.release);
        value->raw("{\"ncnn\": ").string(NCNN_VERSION_STRING);
        value->raw(", \"machine\": ").string(system.machine).raw(", \"kernel\": ").string(kernel);
        value->raw(", \"cores\": ").whole(sysconf(_SC_NPROCESSORS_ONLN));
        const double pages = (double)sysconf(_SC_PHYS_PAGES);
        value->raw(", \"memory_mb\": ").whole((uint64_t)(pages * (double)sysconf(_SC_PAGESIZE) / 1e6));
        char *cpuinfo = text_of("/proc/cpuinfo");
        value->raw(", \"cpuinfo\": ").string(cpuinfo).raw("}");
        free(cpuinfo);
        return nullptr;
    }

    const Failure *open(const Json &entrant, Arrays *arrays, JsonWriter *value) {
        arrays->count = 0;
        delete network;
        network = new Network;
        const double started = wall_ms();
        const Failure *failure = network->open(entrant);
        value->raw("{\"load_ms\": ").number(wall_ms() - started).raw("}");
        if (failure) {
            delete network;
            network = nullptr;
        }
        return failure;
    }

    /* Execute `runs` times, each on the clock. */
    const Failure *invoke(long runs, Arrays *arrays, JsonWriter *value) {
        arrays->count = 0;
        JsonWriter counts;
        const Failure *failure = nullptr;
        const double processor_started = processor_ms();
        value->raw("{\"latency_ms\": [");
        for (long run = 0; run < runs && !failure; run++) {
            /* Nothing else between the two clocks and the two counts: writing a number takes thousands of instructions. */
            const uint64_t counted = counter.available() ? counter.read_count() : 0;
            const double started = wall_ms();
            failure = network->invoke();
            const double ended = wall_ms();
            const uint64_t count = counter.available() ? counter.read_count() - counted : 0;
            value->raw(run ? ", " : "").number(ended - started);
            if (counter.available())
                counts.raw(run ? ", " : "").whole(count);
        }
        value->raw("], \"cpu_ms\": ").number(processor_ms() - processor_started);
        value->raw(", \"instructions\": [").raw(counts.c_str()).raw("], \"peak_memory_kb\": ");
        const long peak_kb = status_kb("VmHWM");
        if (before_kb < 0 || peak_kb < before_kb)
            value->raw("null}");
        else
            value->whole(peak_kb - before_kb).raw("}");
        return failure;
    }
};

int main() {
    const int replies = dup(1);
    dup2(2, 1);
    static const char ready[] = "edgepress answers\n"; /* READY of edgepress/serving.py */
    if (!write_exactly(replies, ready, strlen(ready)))
        return 1;
    static Arrays arrays;
    Agent agent;
    while (Json *call = receive(0, &arrays)) {
        JsonWriter value, text;
        const Failure *failure = agent.answer(*call, &arrays, &value);
        if (failure) {
            arrays.count = 0;
            text.raw("{\"error\": {\"kind\": ").string(failure->kind).raw(", \"what\": ").string(failure->what);
            text.raw(", \"where\": \"native runner\", \"hint\": ").string(failure->hint).raw("}}");
        } else
            text.raw("{\"value\": ").raw(value.c_str()).raw("}");
        delete call;
        if (!send(replies, text, arrays))
            return 1;
    }
    return 0;
}
