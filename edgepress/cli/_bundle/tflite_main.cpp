// Runs the network of this folder on TensorFlow Lite (LiteRT), in C++ through its C interface.
//
//   g++ -O2 -std=c++17 main.cpp -I<tensorflow> -L<lib> -ltensorflowlite_c -o main
//   ./main sample0.f32
//
// <tensorflow> holds tensorflow/lite/c/c_api.h, <lib> the library libtensorflowlite_c. The input is a raw float32
// file of one sample in the file's own layout (see manifest.json: NHWC is height x width x channels), prepared as
// preprocess.json says; sample0.f32 is the first of samples.npz. Where the file takes or gives int8 (io=int8), it is
// converted by the tensor's own scale and zero point.
// edgepress has not compiled this file when it made the bundle.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <vector>

#include "tensorflow/lite/c/c_api.h"

// Fills an input of one sample; false where it is neither float32 nor int8.
bool give(TfLiteTensor* input, const std::vector<float>& values) {
    if (TfLiteTensorType(input) == kTfLiteFloat32)
        return TfLiteTensorCopyFromBuffer(input, values.data(), values.size() * sizeof(float)) == kTfLiteOk;
    if (TfLiteTensorType(input) != kTfLiteInt8) return false;
    const TfLiteQuantizationParams code = TfLiteTensorQuantizationParams(input);
    std::vector<int8_t> integers(values.size());
    for (size_t place = 0; place < values.size(); place++) {
        const float integer = std::nearbyint(values[place] / code.scale) + code.zero_point;
        integers[place] = static_cast<int8_t>(std::clamp(integer, -128.0f, 127.0f));
    }
    return TfLiteTensorCopyFromBuffer(input, integers.data(), integers.size()) == kTfLiteOk;
}

// What an output stands for; empty where it is neither float32 nor int8.
std::vector<float> take(const TfLiteTensor* output) {
    const size_t bytes = TfLiteTensorByteSize(output);
    if (TfLiteTensorType(output) == kTfLiteFloat32) {
        std::vector<float> values(bytes / sizeof(float));
        TfLiteTensorCopyToBuffer(output, values.data(), bytes);
        return values;
    }
    if (TfLiteTensorType(output) != kTfLiteInt8) return {};
    const TfLiteQuantizationParams code = TfLiteTensorQuantizationParams(output);
    std::vector<int8_t> integers(bytes);
    TfLiteTensorCopyToBuffer(output, integers.data(), bytes);
    std::vector<float> values(bytes);
    for (size_t place = 0; place < bytes; place++) values[place] = (integers[place] - code.zero_point) * code.scale;
    return values;
}

int main(int count, char** words) {
    if (count != 2) {
        std::fprintf(stderr, "usage: %s INPUT.f32\n", words[0]);
        return 2;
    }
    TfLiteModel* model = TfLiteModelCreateFromFile("model.tflite");
    if (model == nullptr) return 1;
    TfLiteInterpreterOptions* options = TfLiteInterpreterOptionsCreate();
    TfLiteInterpreterOptionsSetNumThreads(options, 1);
    TfLiteInterpreter* interpreter = TfLiteInterpreterCreate(model, options);
    if (interpreter == nullptr || TfLiteInterpreterAllocateTensors(interpreter) != kTfLiteOk) return 1;

    TfLiteTensor* input = TfLiteInterpreterGetInputTensor(interpreter, 0);
    size_t entries = 1;
    for (int axis = 0; axis < TfLiteTensorNumDims(input); axis++) entries *= TfLiteTensorDim(input, axis);
    std::vector<float> values(entries);
    std::ifstream file(words[1], std::ios::binary);
    if (!file.read(reinterpret_cast<char*>(values.data()), entries * sizeof(float))) {
        std::fprintf(stderr, "%s does not hold %zu floats\n", words[1], entries);
        return 2;
    }
    if (!give(input, values)) {
        std::fprintf(stderr, "this file takes neither float32 nor int8\n");
        return 1;
    }
    if (TfLiteInterpreterInvoke(interpreter) != kTfLiteOk) return 1;

    const std::vector<float> scores = take(TfLiteInterpreterGetOutputTensor(interpreter, 0));
    std::vector<int> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    const size_t shown = std::min<size_t>(5, order.size());
    std::partial_sort(order.begin(), order.begin() + shown, order.end(),
                      [&](int a, int b) { return scores[a] > scores[b]; });
    for (size_t place = 0; place < shown; place++)
        std::printf("%10.4f  %d\n", scores[order[place]], order[place]);

    TfLiteInterpreterDelete(interpreter);
    TfLiteInterpreterOptionsDelete(options);
    TfLiteModelDelete(model);
    return 0;
}
