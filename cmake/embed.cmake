# kfab_embed(TARGET SYMBOL FILE): the bytes of FILE become embedded_SYMBOL() in TARGET, which base/embedded.hpp
# declares for whoever uses them. The assembler's .incbin costs no compile time.
function(kfab_embed target symbol file)
  set(asm ${CMAKE_CURRENT_BINARY_DIR}/embed_${symbol}.S)
  file(CONFIGURE OUTPUT ${asm} CONTENT [[
    .section .rodata
    .global kfab_embedded_@symbol@_begin
    .global kfab_embedded_@symbol@_end
    .balign 16
kfab_embedded_@symbol@_begin:
    .incbin "@file@"
kfab_embedded_@symbol@_end:
    .byte 0
    .section .note.GNU-stack,"",%progbits
]] @ONLY)
  set_source_files_properties(${asm} PROPERTIES LANGUAGE ASM OBJECT_DEPENDS ${file})
  target_sources(${target} PRIVATE ${asm})
endfunction()

# kfab_embed_built_ins(TARGET): every profile, criteria set and role under manifests/ goes into TARGET, and the list of
# them becomes manifest_built_ins.inc. A file is named as the document in it is.
function(kfab_embed_built_ins target)
  set(list "")
  foreach(pair Profile:profiles Criteria:criteria Role:roles)
    string(REPLACE ":" ";" pair ${pair})
    list(GET pair 0 kind)
    list(GET pair 1 folder)
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/manifests/${folder}/*.yaml)
    foreach(file ${files})
      cmake_path(GET file STEM LAST_ONLY name)
      string(MAKE_C_IDENTIFIER "${kind}_${name}" symbol)
      kfab_embed(${target} ${symbol} ${file})
      string(APPEND list "BUILT_IN(\"${kind}\", \"${name}\", ${symbol})\n")
    endforeach()
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/manifest_built_ins.inc CONTENT "${list}" @ONLY)
  target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/generated)
endfunction()
