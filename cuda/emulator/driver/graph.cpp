// graph.cpp   capture of streams into graphs, and their replay
//
// A graph is the list of its steps in the order of capture, which respects all dependencies; replay runs them one by one.
// Allocation inside a capture is refused: a captured phase works on memory it has.
#include <algorithm>

#include "emulator/driver/state.h"

namespace rt::driver {

namespace {

// How calls of this thread that could interrupt a capture are judged.
thread_local int thread_mode = kCaptureGlobal;

Capture::Member& member(Capture& capture, const std::shared_ptr<Stream>& stream) {
  const auto found = std::find_if(capture.members.begin(), capture.members.end(),
                                  [&](const Capture::Member& each) { return each.stream == stream; });
  return found != capture.members.end() ? *found : capture.members.emplace_back(Capture::Member{stream});
}

Result append(Graph& graph, Step step, void** handle) {
  auto node = std::make_shared<Node>(Node{std::move(step)});
  if (handle != nullptr) {
    *handle = node.get();
  }
  state().nodes.add(node);
  graph.nodes.push_back(std::move(node));
  return kSuccess;
}

// Ends a capture: its streams are ordinary again.
void release(Capture& capture) {
  for (const Capture::Member& each : capture.members) {
    each.stream->capture = nullptr;
  }
  capture.ended = true;
}

Result call_of(const KernelNodeParameters* parameters, std::shared_ptr<const KernelCall>& call) {
  if (parameters == nullptr) {
    return kInvalidValue;
  }
  void* const function = parameters->function != nullptr ? parameters->function : parameters->kernel;
  return make_call(function, {parameters->grid_x, parameters->grid_y, parameters->grid_z},
                   {parameters->block_x, parameters->block_y, parameters->block_z}, parameters->shared_bytes,
                   parameters->parameters, parameters->extra, call);
}

Result instantiate(void** exec, void* graph) {
  return in_context([&](Lock&, Context& context) {
    const auto found = state().graphs.find(graph);
    if (found == nullptr || exec == nullptr) {
      return kInvalidValue;
    }
    auto made = std::make_shared<GraphExec>();
    made->context = &context;
    for (const auto& node : found->nodes) {
      made->steps.emplace_back(node, node->step);
    }
    *exec = state().execs.add(std::move(made));
    return kSuccess;
  });
}

}  // namespace

Result forbidden_by_capture() {
  if (thread_mode == kCaptureRelaxed) {
    return kSuccess;
  }
  auto& captures = state().captures;
  std::erase_if(captures, [](const auto& weak) { return weak.expired() || weak.lock()->ended; });
  Result result = kSuccess;
  for (const auto& weak : captures) {
    const auto capture = weak.lock();
    const bool own = capture->thread == std::this_thread::get_id();
    const bool forbids = own ? capture->mode != kCaptureRelaxed
                             : capture->mode == kCaptureGlobal && thread_mode == kCaptureGlobal;
    if (forbids) {
      capture->invalidated = true;
      result = kCaptureUnsupported;
    }
  }
  return result;
}

Result capture_step(const std::shared_ptr<Stream>& stream, Step step) {
  Capture& capture = *stream->capture;
  if (capture.invalidated) {
    return kCaptureInvalidated;
  }
  member(capture, stream).steps++;
  return append(*capture.graph, std::move(step), nullptr);
}

Result capture_record(const std::shared_ptr<Stream>& stream, Record& record) {
  Capture& capture = *stream->capture;
  if (capture.invalidated) {
    return kCaptureInvalidated;
  }
  record.mark.stream = stream;
  record.capture = stream->capture;
  record.captured = member(capture, stream).steps;
  return kSuccess;
}

Result capture_wait(const std::shared_ptr<Stream>& stream, const Record& record) {
  if (record.capture == nullptr) {
    stream->capture->invalidated = true;  // a graph cannot wait for work outside
    return kCaptureUnsupported;
  }
  if (record.capture->ended) {
    return kCapturedEvent;
  }
  if (record.capture->invalidated) {
    return kCaptureInvalidated;
  }
  if (stream->capture != nullptr && stream->capture != record.capture) {
    stream->capture->invalidated = true;
    record.capture->invalidated = true;
    return kCaptureMerge;
  }
  stream->capture = record.capture;
  Capture::Member& waited = member(*record.capture, record.mark.stream);
  waited.joined = std::max(waited.joined, record.captured);
  // What a side stream waited for has to be joined as well.
  member(*record.capture, stream).steps++;
  return kSuccess;
}

}  // namespace rt::driver

using namespace rt::driver;

RT_API cuStreamBeginCapture_v2(void* stream, int mode) {
  return in_stream(stream, [&](Lock&, Context& context, const std::shared_ptr<Stream>& found) {
    if (found == context.legacy || found->capture != nullptr || mode < kCaptureGlobal || mode > kCaptureRelaxed) {
      return found == context.legacy ? kCaptureUnsupported : found->capture != nullptr ? kIllegalState : kInvalidValue;
    }
    auto capture = std::make_shared<Capture>();
    capture->id = state().next_id++;
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    capture->origin = found;
    capture->graph = std::make_shared<Graph>();
    capture->members.push_back({found});
    state().captures.push_back(capture);
    found->capture = std::move(capture);
    return kSuccess;
  });
}

RT_API cuStreamEndCapture(void* stream, void** graph) {
  return in_stream(stream, [&](Lock&, Context&, const std::shared_ptr<Stream>& found) {
    const auto capture = found->capture;
    if (capture == nullptr) {
      return kIllegalState;
    }
    if (graph == nullptr) {
      return kInvalidValue;
    }
    *graph = nullptr;
    if (capture->mode != kCaptureRelaxed && capture->thread != std::this_thread::get_id()) {
      return kCaptureWrongThread;
    }
    if (capture->origin != found) {
      capture->invalidated = true;
      return kCaptureUnmatched;
    }
    const bool joined = std::all_of(capture->members.begin() + 1, capture->members.end(),
                                    [](const Capture::Member& each) { return each.joined == each.steps; });
    release(*capture);
    if (capture->invalidated) {
      return kCaptureInvalidated;
    }
    if (!joined) {
      return kCaptureUnjoined;
    }
    *graph = state().graphs.add(capture->graph);
    return kSuccess;
  });
}

RT_API cuStreamIsCapturing(void* stream, int* status) {
  return in_stream(stream, [&](Lock&, Context&, const std::shared_ptr<Stream>& found) {
    *status = found->capture == nullptr        ? kCaptureNone
              : found->capture->invalidated ? kCaptureStatusInvalidated
                                            : kCaptureActive;
    return kSuccess;
  });
}

RT_API cuStreamGetCaptureInfo_v2(void* stream, int* status, std::uint64_t* id, void** graph, const void** dependencies,
                                 std::size_t* count) {
  const Result result = cuStreamIsCapturing(stream, status);
  return result != kSuccess ? result : in_stream(stream, [&](Lock&, Context&, const std::shared_ptr<Stream>& found) {
    if (found->capture == nullptr) {
      return kSuccess;
    }
    if (id != nullptr) {
      *id = found->capture->id;
    }
    if (graph != nullptr) {
      *graph = found->capture->graph.get();
    }
    if (dependencies != nullptr) {
      *dependencies = nullptr;
    }
    if (count != nullptr) {
      *count = 0;
    }
    return kSuccess;
  });
}

RT_API cuStreamGetCaptureInfo_v3(void* stream, int* status, std::uint64_t* id, void** graph, const void** dependencies,
                                 const void** edges, std::size_t* count) {
  if (edges != nullptr) {
    *edges = nullptr;
  }
  return cuStreamGetCaptureInfo_v2(stream, status, id, graph, dependencies, count);
}

RT_API cuThreadExchangeStreamCaptureMode(int* mode) {
  if (mode == nullptr || *mode < kCaptureGlobal || *mode > kCaptureRelaxed) {
    return kInvalidValue;
  }
  std::swap(*mode, thread_mode);
  return kSuccess;
}

RT_API cuGraphCreate(void** graph, unsigned) {
  return initialised([&](Lock&) {
    *graph = state().graphs.add(std::make_shared<Graph>());
    return kSuccess;
  });
}

RT_API cuGraphDestroy(void* graph) {
  return initialised([&](Lock&) {
    const auto found = state().graphs.find(graph);
    if (found == nullptr) {
      return kInvalidValue;
    }
    for (const auto& node : found->nodes) {
      state().nodes.remove(node.get());
    }
    state().graphs.remove(graph);
    return kSuccess;
  });
}

RT_API cuGraphAddKernelNode_v2(void** node, void* graph, void* const* dependencies, std::size_t count,
                               const KernelNodeParameters* parameters) {
  return in_context([&](Lock&, Context&) {
    const auto found = state().graphs.find(graph);
    for (std::size_t i = 0; i < count; i++) {
      if (state().nodes.find(dependencies[i]) == nullptr) {
        return kInvalidValue;
      }
    }
    if (found == nullptr) {
      return kInvalidValue;
    }
    Step step{kNodeKernel, nullptr, nullptr};
    const Result made = call_of(parameters, step.call);
    return made != kSuccess ? made : append(*found, std::move(step), node);
  });
}

RT_API cuGraphGetNodes(void* graph, void** nodes, std::size_t* count) {
  return initialised([&](Lock&) {
    const auto found = state().graphs.find(graph);
    if (found == nullptr || count == nullptr) {
      return kInvalidValue;
    }
    for (std::size_t i = 0; nodes != nullptr && i < *count; i++) {
      nodes[i] = i < found->nodes.size() ? found->nodes[i].get() : nullptr;
    }
    *count = nodes == nullptr ? found->nodes.size() : std::min(*count, found->nodes.size());
    return kSuccess;
  });
}

RT_API cuGraphNodeGetType(void* node, int* type) {
  return initialised([&](Lock&) {
    const auto found = state().nodes.find(node);
    if (found == nullptr) {
      return kInvalidValue;
    }
    *type = found->step.kind;
    return kSuccess;
  });
}

RT_API cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) { return instantiate(exec, graph); }

RT_API cuGraphInstantiateWithParams(void** exec, void* graph, InstantiateParameters* parameters) {
  const Result result = instantiate(exec, graph);
  if (parameters != nullptr) {
    parameters->error_node = nullptr;
    parameters->result = result == kSuccess ? 0 : 1;
  }
  return result;
}

RT_API cuGraphExecDestroy(void* exec) {
  return initialised([&](Lock&) { return state().execs.remove(exec) ? kSuccess : kInvalidValue; });
}

RT_API cuGraphUpload(void* exec, void* stream) {
  return in_stream(stream, [&](Lock&, Context&, const std::shared_ptr<Stream>&) {
    return state().execs.find(exec) == nullptr ? kInvalidValue : kSuccess;
  });
}

RT_API cuGraphLaunch(void* exec, void* stream) {
  return in_stream(stream, [&](Lock& lock, Context&, const std::shared_ptr<Stream>& found) {
    const auto launched = state().execs.find(exec);
    if (launched == nullptr) {
      return kInvalidValue;
    }
    std::vector<Step> steps;
    for (const auto& [node, step] : launched->steps) {
      steps.push_back(step);
    }
    if (found->capture != nullptr) {
      Result result = kSuccess;
      for (std::size_t i = 0; i < steps.size() && result == kSuccess; i++) {
        result = capture_step(found, steps[i]);
      }
      return result;
    }
    const auto replay = [steps = std::move(steps)](Context& context) {
      for (std::size_t i = 0; i < steps.size() && context.error == kSuccess; i++) {
        if (steps[i].call != nullptr) {
          run_kernel(context, *steps[i].call);
        } else if (steps[i].run) {
          steps[i].run(context);
        }
      }
    };
    return submit(lock, found, {kNodeEmpty, replay, nullptr});
  });
}

// Launches that are queued keep what they had.
RT_API cuGraphExecKernelNodeSetParams_v2(void* exec, void* node, const KernelNodeParameters* parameters) {
  return in_context([&](Lock&, Context&) {
    const auto found = state().execs.find(exec);
    if (found == nullptr) {
      return kInvalidValue;
    }
    const auto step = std::find_if(found->steps.begin(), found->steps.end(),
                                   [node](const auto& each) { return each.first.get() == node; });
    if (step == found->steps.end() || step->second.kind != kNodeKernel) {
      return kInvalidValue;
    }
    return call_of(parameters, step->second.call);
  });
}

RT_API cuGraphExecUpdate_v2(void* exec, void* graph, UpdateResult* result) {
  return in_context([&](Lock&, Context&) {
    const auto updated = state().execs.find(exec);
    const auto found = state().graphs.find(graph);
    if (updated == nullptr || found == nullptr) {
      return kInvalidValue;
    }
    const bool same = updated->steps.size() == found->nodes.size() &&
                      std::equal(found->nodes.begin(), found->nodes.end(), updated->steps.begin(),
                                 [](const auto& node, const auto& step) { return node->step.kind == step.second.kind; });
    if (result != nullptr) {
      *result = {same ? 0 : 2, nullptr, nullptr};  // success, or the topology changed
    }
    if (!same) {
      return kGraphExecUpdateFailure;
    }
    for (std::size_t i = 0; i < found->nodes.size(); i++) {
      updated->steps[i].second = found->nodes[i]->step;
    }
    return kSuccess;
  });
}
