#include <zlib.h>

#include <array>
#include <limits>

#include "base/codes/agent.hpp"
#include "base/result.hpp"
#include "base/sha256.hpp"
#include "fleet/agent_session.hpp"

namespace kfab::fleet {

Result<AgentImage> make_agent_image(std::string_view gz) {
  const auto broken = [] { return error(code::agent_image_broken, "the agent's image cannot be unpacked"); };
  if (gz.empty() || gz.size() > std::numeric_limits<unsigned>::max()) return broken();
  z_stream stream{};
  constexpr int gzip_header = 16;
  if (inflateInit2(&stream, gzip_header + MAX_WBITS) != Z_OK) return broken();
  stream.next_in = const_cast<Bytef*>(static_cast<const Bytef*>(static_cast<const void*>(gz.data())));   // zlib does not write there
  stream.avail_in = static_cast<unsigned>(gz.size());
  AgentImage image{gz, {}, 0};
  Sha256 sha256;
  std::array<Bytef, 64 * 1024> chunk{};
  int state = Z_OK;
  while (state == Z_OK) {
    stream.next_out = chunk.data();
    stream.avail_out = static_cast<unsigned>(chunk.size());
    state = inflate(&stream, Z_NO_FLUSH);
    const std::size_t got = chunk.size() - stream.avail_out;
    sha256.update({static_cast<const char*>(static_cast<const void*>(chunk.data())), got});
    image.size_bytes += got;
    if (state == Z_OK && got == 0 && stream.avail_in == 0) break;   // cut short
  }
  const bool whole = state == Z_STREAM_END && stream.avail_in == 0;
  inflateEnd(&stream);
  if (!whole) return broken();
  image.sha256 = sha256.hex();
  return image;
}

}  // namespace kfab::fleet
