#include "report/page_style.hpp"

namespace kfab::report {

// One accent (a steel blue) in four steps carries progress; red, amber and green are kept for verdicts. Text on every
// ground has a contrast of at least 4.5 : 1.
const std::string_view page_style = R"css(
:root{color-scheme:light dark;--ink:#171b20;--muted:#56606b;--line:#dde2e7;--hair:#eceff2;--paper:#fff;--panel:#f6f8f9;
--accent:#1c5d85;--accent3:#5d94b5;--accent2:#a3c4d6;--accent1:#d6e5ee;
--bad:#b3261e;--badsoft:#fbebe9;--warn:#835400;--warnsoft:#fcf2dd;--good:#17683e;--goodsoft:#e5f3eb;--quiet:#56606b;--quietsoft:#eef1f3}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaee;--muted:#9ba6b1;--line:#303841;--hair:#232a31;--paper:#101418;--panel:#181d22;
--accent:#6fb3dc;--accent3:#3f7fa6;--accent2:#2b5a77;--accent1:#1e3a4c;
--bad:#ff9187;--badsoft:#3b1b18;--warn:#f0bb55;--warnsoft:#33280f;--good:#6cca98;--goodsoft:#143021;--quiet:#9ba6b1;--quietsoft:#242b32}}
*{box-sizing:border-box}
html{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK KR",sans-serif;color:var(--ink);background:var(--paper);-webkit-text-size-adjust:100%}
body{max-width:1020px;margin:0 auto;padding:44px 30px 60px}
h1,h2,h3,p,ul,dl,figure{margin:0}
h1{font-size:30px;line-height:1.2;font-weight:650;letter-spacing:-.015em}
h2{font-size:20px;line-height:1.3;font-weight:650;letter-spacing:-.01em}
h3{font-size:13px;font-weight:650;color:var(--muted);margin:30px 0 8px}
a{color:var(--accent)}
.kicker{color:var(--muted);font-size:13px;margin-bottom:6px}
.sub{color:var(--muted);margin-top:6px}
.hero{display:grid;grid-template-columns:auto 1fr;gap:4px 18px;align-items:center;margin:26px 0 8px;padding:18px 22px;border-radius:10px;background:var(--quietsoft)}
.hero.pass{background:var(--goodsoft)}.hero.fail{background:var(--badsoft)}.hero.degraded{background:var(--warnsoft)}
.hero b{font-size:24px;font-weight:700;letter-spacing:-.01em;white-space:nowrap}
.pass b.big,.v.pass{color:var(--good)}.fail b.big,.v.fail{color:var(--bad)}.degraded b.big,.v.degraded{color:var(--warn)}.not_judged b.big,.v.not_judged{color:var(--quiet)}
.figures{display:flex;flex-wrap:wrap;gap:0;margin:14px 0 4px}
.figures div{flex:1 1 auto;padding:10px 24px 10px 0;white-space:nowrap}
.figures strong{display:block;font-size:24px;line-height:1.15;font-weight:600;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.figures span{color:var(--muted);font-size:13px}
section{margin-top:46px}
section.tranche{border-top:2px solid var(--ink);padding-top:16px}
.title{display:flex;justify-content:space-between;align-items:baseline;gap:16px;flex-wrap:wrap}
.title small{font-size:14px;font-weight:400;color:var(--muted);margin-left:8px}
.lead{margin-top:4px;color:var(--muted)}
.v{display:inline-block;font-weight:600;white-space:nowrap}
.v.chip{padding:1px 10px;border-radius:99px;font-size:14px;background:var(--quietsoft)}
.v.chip.pass{background:var(--goodsoft)}.v.chip.fail{background:var(--badsoft)}.v.chip.degraded{background:var(--warnsoft)}
table{width:100%;border-collapse:collapse;font-size:14px;line-height:1.45}
caption{text-align:left;font-size:13px;color:var(--muted);padding-bottom:6px}
th{text-align:left;font-weight:500;font-size:13px;color:var(--muted);border-bottom:1px solid var(--line);padding:4px 14px 5px 0;vertical-align:bottom}
td{padding:7px 14px 7px 0;border-bottom:1px solid var(--hair);vertical-align:top;overflow-wrap:anywhere}
th:last-child,td:last-child{padding-right:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.w,th.w{white-space:nowrap;overflow-wrap:normal}
td.k{font-weight:500;white-space:nowrap;overflow-wrap:normal}
td .next{color:var(--muted);display:block;margin-top:2px}
code,.mono{font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
ul.plain{list-style:none;padding:0}ul.plain li{padding:5px 0 5px 20px;position:relative;font-size:14px}
ul.plain li:before{content:"–";position:absolute;left:2px;color:var(--muted)}
.muted{color:var(--muted)}.small{font-size:13px}
figure{margin-top:10px}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:var(--ink)}
svg .m{fill:var(--muted)}svg .s{font-size:11.5px}svg .b{font-weight:600}svg .num{font-variant-numeric:tabular-nums}svg .e{text-anchor:end}svg .c{text-anchor:middle}
.track{fill:var(--quietsoft)}.done{fill:var(--accent)}.part{fill:var(--accent2)}.env{fill:var(--accent1)}.load{fill:var(--accent3)}.over{fill:url(#hatch)}
.axis{stroke:var(--line);stroke-width:1}.mark{stroke:var(--ink);stroke-width:1.5}.limit{stroke:var(--ink);stroke-width:1;stroke-dasharray:3 3}
.now{fill:var(--ink)}.due{fill:var(--accent)}.late{fill:var(--bad)}.met{fill:var(--good)}
.a{fill:var(--accent)}.p{fill:var(--accent3)}.i{fill:var(--accent2)}.r{fill:var(--accent1)}.d{fill:var(--paper);stroke:var(--accent2)}
.f{fill:url(#hatch);stroke:var(--bad)}.x{fill:url(#dots);stroke:var(--warn)}
.tiny .f{fill:var(--bad);stroke:none}.tiny .x{fill:var(--warn);stroke:none}
.hb{fill:var(--badsoft)}.hl{stroke:var(--bad);stroke-width:2}.db{fill:var(--warnsoft)}.dd{fill:var(--warn)}
.map text{font-size:11px}.map .ga{fill:var(--paper);font-weight:600}.map .g{fill:var(--ink);font-weight:700;paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;margin-top:10px;font-size:13px;color:var(--muted)}
.legend span{display:inline-flex;align-items:center;gap:7px}.legend svg{width:14px;height:14px}
footer{margin-top:56px;border-top:1px solid var(--line);padding-top:14px;font-size:13px;color:var(--muted)}
footer dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px}footer dt{color:var(--muted)}footer dd{margin:0;color:var(--ink);overflow-wrap:anywhere}
@media (max-width:640px){body{padding:24px 16px 40px}figure{overflow-x:auto}figure svg{min-width:640px}h1{font-size:24px}.hero{grid-template-columns:1fr}}
@page{size:A4;margin:16mm 15mm}
@media print{:root{color-scheme:light;--ink:#171b20;--muted:#56606b;--line:#dde2e7;--hair:#eceff2;--paper:#fff;--panel:#f6f8f9;--accent:#1c5d85;--accent3:#5d94b5;--accent2:#a3c4d6;--accent1:#d6e5ee;--bad:#b3261e;--badsoft:#fbebe9;--warn:#835400;--warnsoft:#fcf2dd;--good:#17683e;--goodsoft:#e5f3eb;--quiet:#56606b;--quietsoft:#eef1f3}
html{font-size:11px}body{max-width:none;padding:0}table{font-size:10.5px}section{margin-top:26px}h2,h3,caption{break-after:avoid}tr,figure,.hero{break-inside:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
)css";

}  // namespace kfab::report
