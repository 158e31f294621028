#include "manifest/resource_undo.hpp"

#include <algorithm>
#include <array>

namespace kfab::manifest {
namespace {

using enum UndoRow::Kind;

constexpr std::array undo_rows{
    UndoRow{"package", restores, "what was not installed is removed, unless others need it by now; configuration and packages that came along stay. What was in another version, or was removed, "
                                 "is installed again in that version, where a repository still has it. Holds and pins are as before"},
    UndoRow{"file", restores, "bytes, owner and mode, or the link, or its absence. With backup: false no bytes were kept, and a file that was replaced stays"},
    UndoRow{"directory", restores, "owner and mode, or its absence; what is not empty is not removed"},
    UndoRow{"line", restores, "the lines as they were; what others changed in the same file stays. Where kfab's own line was changed nothing is done"},
    UndoRow{"service", restores, "whether it runs and starts at boot. Where what it names in restart_on is put back, it is restarted, once, if it runs then"},
    UndoRow{"sysctl", restores, "the value now, and at boot"},
    UndoRow{"user", restores, "number, group, shell, home and memberships that the role says; a user that kfab made is removed, the home stays. One that kfab removed does not come back: the password is gone"},
    UndoRow{"group", restores, "the number; a group that kfab made is removed. One that kfab removed does not come back: who belonged to it is not known"},
    UndoRow{"command", nothing, "what it did is not known; write a second role that takes it back"},
    UndoRow{"sudoers", restores, "the file as it was, or its absence"},
    UndoRow{"ssh_key", restores, "the lines of authorized_keys as they were, and the directory's mode; keys that others added stay"},
    UndoRow{"limits", restores, "the lines of kfab's file; it goes with the last of them. Logins that are open keep theirs"},
    UndoRow{"hostname", restores, "the name, now and at boot"},
    UndoRow{"timezone", restores, "the link, and Debian's text"},
    UndoRow{"kernel_module", restores, "what is loaded or kept from loading at boot, and options. A module that is loaded stays until the next boot, and that is said"},
    UndoRow{"kernel_argument", restores, "what the next boot is started with; a reboot that this needs is asked for"},
    UndoRow{"hugepages", restores, "how many are set aside, now and at boot"},
    UndoRow{"drop_in", restores, "the file as it was, or its absence, and systemd reads it; a service that names it in restart_on is restarted, another one goes on with the old settings until it is"},
    UndoRow{"mount", restores, "the lines of /etc/fstab, and what is mounted; the directory that kfab made goes"},
    UndoRow{"swap", restores, "the lines of /etc/fstab, and what is swapped to"},
    UndoRow{"repository", restores, "the list and the key; package lists that were read stay until they are read again"},
    UndoRow{"archive", removes, "the directory, if nothing in it was touched since. What an archive replaced is not kept, and does not come back"},
    UndoRow{"firewall", restores, "the rules and kfab's table, now and at boot"},
    UndoRow{"raid0", nothing, "the disks were empty, and now somebody's data may be on them; take the array apart by hand"},
    UndoRow{"assertion", nothing, "it changes nothing"},
    UndoRow{"reboot", nothing, "it changes nothing that could be taken back"},
};

}  // namespace

const UndoRow* find_undo(std::string_view type) {
  const auto* it = std::find_if(undo_rows.begin(), undo_rows.end(), [&](const UndoRow& row) { return row.type == type; });
  return it == undo_rows.end() ? nullptr : it;
}

std::string_view to_string(UndoRow::Kind kind) {
  switch (kind) {
    case restores: return "restores";
    case removes: return "removes";
    case nothing: return "not undone";
  }
  return "";
}

}  // namespace kfab::manifest
