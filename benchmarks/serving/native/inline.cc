// A gRPC server in C++ that adds up the same trees inline, in the thread that has the call: TensorFlow Serving's class.
// inline FOREST PORT: FOREST holds lines "left right column threshold missing_left value", a tree after its count.
#include <grpcpp/grpcpp.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <vector>

#include "service.grpc.pb.h"

using tensorflow::serving::PredictRequest;
using tensorflow::serving::PredictResponse;

struct Node {
  int left, right, column;
  float threshold;
  int missing_left;
  float value;
};

static std::vector<std::vector<Node>> forest;
static float base_margin;

static float probability(const float* row) {
  float margin = base_margin;
  for (const auto& tree : forest) {
    int at = 0;
    while (tree[at].left >= 0) {
      const Node& node = tree[at];
      const float value = row[node.column];
      const bool left = std::isnan(value) ? node.missing_left : value < node.threshold;
      at = left ? node.left : node.right;
    }
    margin += tree[at].value;
  }
  return 1.0f / (1.0f + std::exp(-margin));
}

class Service final : public tensorflow::serving::PredictionService::Service {
  grpc::Status Predict(grpc::ServerContext*, const PredictRequest* request, PredictResponse* response) override {
    const auto found = request->inputs().find("features");
    if (found == request->inputs().end()) return {grpc::StatusCode::INVALID_ARGUMENT, "no features"};
    const auto& tensor = found->second;
    if (tensor.tensor_shape().dim_size() != 2) return {grpc::StatusCode::INVALID_ARGUMENT, "features are a matrix"};
    const int64_t rows = tensor.tensor_shape().dim(0).size(), columns = tensor.tensor_shape().dim(1).size();
    if (tensor.tensor_content().size() != rows * columns * sizeof(float))
      return {grpc::StatusCode::INVALID_ARGUMENT, "the bytes are not those of the shape"};
    std::vector<float> values(rows * columns), answers(rows);
    std::memcpy(values.data(), tensor.tensor_content().data(), tensor.tensor_content().size());
    for (int64_t row = 0; row < rows; ++row) answers[row] = probability(values.data() + row * columns);
    response->mutable_model_spec()->set_name(request->model_spec().name());
    auto& output = (*response->mutable_outputs())["probability"];
    output.set_dtype(tensor.dtype());
    output.mutable_tensor_shape()->add_dim()->set_size(rows);
    output.set_tensor_content(answers.data(), rows * sizeof(float));
    return grpc::Status::OK;
  }
};

int main(int, char** arguments) {
  std::ifstream file(arguments[1]);
  size_t trees, nodes;
  file >> base_margin >> trees;
  while (trees-- && file >> nodes) {
    std::vector<Node> tree(nodes);
    for (auto& n : tree) file >> n.left >> n.right >> n.column >> n.threshold >> n.missing_left >> n.value;
    forest.push_back(std::move(tree));
  }
  Service service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(std::string("127.0.0.1:") + arguments[2], grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  std::cout << port << std::endl;
  server->Wait();
}
