#pragma once

#include <unistd.h>

#include <string>
#include <vector>

namespace kfab::agent::health {

// Where the health of a node is read. On a node as it stands here; tests give a recorded tree as root, a stand-in for the
// libraries and a recorded kernel log.
struct Sources {
  std::string root;                                            // before /sys and /dev; empty on a node
  std::string nvml_library = "libnvidia-ml.so.1";
  std::string cuda_library = "libcuda.so.1";                   // for the short load under which a PCIe link shows its speed
  std::string no_cuda;                                         // why CUDA does not start on this node: then it is not asked again
  double link_load_s = 0.8;                                    // a link needs some tens of milliseconds to leave its idle speed
  std::string kernel_log = "/dev/kmsg";                        // below root
  ssize_t (*read_record)(int, void*, std::size_t) = ::read;    // from it: what only a kernel can answer (EPIPE) comes from a test by this
  // Asked when the kernel log may not be opened. Its lines begin with the seconds since boot in brackets.
  std::vector<std::string> journal{"journalctl", "--dmesg", "--boot", "--output=short-monotonic", "--no-pager", "--quiet"};
};

// Those of this process. Tests change them before they fork a child; nothing else does.
Sources& sources();

}  // namespace kfab::agent::health
