// Runs the network of this folder on TensorFlow Lite (LiteRT), in C++ through its C interface.
//
//   g++ -O2 -std=c++17 main.cpp -I<tensorflow> -L<lib> -ltensorflowlite_c -o main
//   ./main sample0.f32
//
// <tensorflow> holds tensorflow/lite/c/c_api.h, <lib> the library libtensorflowlite_c. The input is a raw float32
// file of one sample in the file's own layout (see manifest.json: NHWC is height x width x channels), prepared as
// preprocess.json says; sample0.f32 is the first of samples.npz. A file converted with io=int8 takes int8 instead.
// edgepress has not compiled this file when it made the bundle.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <vector>

#include "tensorflow/lite/c/c_api.h"

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
    if (TfLiteTensorType(input) != kTfLiteFloat32) {
        std::fprintf(stderr, "this file takes no float32\n");
        return 1;
    }
    std::vector<float> values(TfLiteTensorByteSize(input) / sizeof(float));
    std::ifstream file(words[1], std::ios::binary);
    if (!file.read(reinterpret_cast<char*>(values.data()), values.size() * sizeof(float))) {
        std::fprintf(stderr, "%s does not hold %zu floats\n", words[1], values.size());
        return 2;
    }
    if (TfLiteTensorCopyFromBuffer(input, values.data(), values.size() * sizeof(float)) != kTfLiteOk ||
        TfLiteInterpreterInvoke(interpreter) != kTfLiteOk)
        return 1;

    const TfLiteTensor* output = TfLiteInterpreterGetOutputTensor(interpreter, 0);
    std::vector<float> scores(TfLiteTensorByteSize(output) / sizeof(float));
    TfLiteTensorCopyToBuffer(output, scores.data(), scores.size() * sizeof(float));
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
