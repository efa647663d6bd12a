// Runs the network of this folder on ncnn, in C++.
//
//   g++ -O2 -std=c++17 main.cpp -I<ncnn>/include/ncnn -L<ncnn>/lib -lncnn -fopenmp -o main
//   ./main 227 227 3 sample0.f32
//
// <ncnn> is an installed build of https://github.com/Tencent/ncnn. The input is a raw float32 file of one sample,
// channels x height x width, prepared as preprocess.json says; sample0.f32 is the first of samples.npz.
// edgepress has not compiled this file when it made the bundle.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numeric>
#include <vector>

#include "net.h"

int main(int count, char** words) {
    if (count != 5) {
        std::fprintf(stderr, "usage: %s WIDTH HEIGHT CHANNELS INPUT.f32\n", words[0]);
        return 2;
    }
    const int width = std::atoi(words[1]), height = std::atoi(words[2]), channels = std::atoi(words[3]);
    const size_t plane = static_cast<size_t>(width) * height;
    std::vector<float> values(plane * channels);
    std::ifstream file(words[4], std::ios::binary);
    if (!file.read(reinterpret_cast<char*>(values.data()), values.size() * sizeof(float))) {
        std::fprintf(stderr, "%s does not hold %zu floats\n", words[4], values.size());
        return 2;
    }

    ncnn::Net net;
    if (net.load_param("model.param") || net.load_model("model.bin")) return 1;

    // ncnn pads every channel to a multiple of its alignment: so channel by channel, not in one piece.
    ncnn::Mat input(width, height, channels);
    for (int c = 0; c < channels; c++)
        std::memcpy(input.channel(c), values.data() + c * plane, plane * sizeof(float));

    ncnn::Extractor extractor = net.create_extractor();
    extractor.input("in0", input);
    ncnn::Mat output;
    if (extractor.extract("out0", output)) return 1;

    const ncnn::Mat scores = output.reshape(output.w * output.h * output.c);
    std::vector<int> order(scores.w);
    std::iota(order.begin(), order.end(), 0);
    const size_t shown = std::min<size_t>(5, order.size());
    std::partial_sort(order.begin(), order.begin() + shown, order.end(),
                      [&](int a, int b) { return scores[a] > scores[b]; });
    for (size_t place = 0; place < shown; place++)
        std::printf("%10.4f  %d\n", scores[order[place]], order[place]);
    return 0;
}
