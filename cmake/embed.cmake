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
