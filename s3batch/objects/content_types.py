"""The media type of a file by its extension: one fixed table, equal on every host and every Python.

Neither the host's ``/etc/mime.types`` nor Python's own tables are read: two machines that disagree about a type would
copy each other's objects on every run. Text types carry ``; charset=utf-8``, as drone-s3-sync sends them, so that a
first run after the plugin finds nothing to change. An extension counts in any case, from the last dot of the name on.
Unknown extensions are ``application/octet-stream``.
"""

from __future__ import annotations

UNKNOWN = "application/octet-stream"

_TABLE = """
application/atom+xml atom
application/atomcat+xml atomcat
application/atomsvc+xml atomsvc
application/avro avro
application/bicep bicep
application/cbor cbor
application/dash+xml mpd
application/davmount+xml davmount
application/dicom dcm dicom
application/ecmascript ecma
application/epub+zip epub
application/font-tdpfr pfr
application/geo+json geojson
application/gml+xml gml
application/gpx+xml gpx
application/graphql graphql graphqls
application/gxf gxf
application/gzip gz tgz taz gzip
application/hta hta
application/inkml+xml ink inkml
application/its+xml its
application/java-archive jar war ear
application/java-serialized-object ser
application/java-vm class
application/json json map har jsonfeed avsc ipynb topojson webapp
application/json5 json5
application/jsonlines jsonl ndjson
application/jwk+json jwk
application/jwk-set+json jwks
application/ld+json jsonld
application/lost+xml lostxml
application/mac-binhex40 hqx
application/manifest+json webmanifest
application/marc mrc
application/mathml+xml mathml mml
application/mbox mbox
application/metalink4+xml meta4
application/mods+xml mods
application/msword doc wiz
application/mxf mxf
application/n-quads nq
application/n-triples nt
application/oda oda
application/oebps-package+xml opf
application/ogg ogx
application/oxps oxps
application/pdf pdf
application/pem-certificate-chain pem
application/pgp-encrypted pgp gpg
application/pgp-signature asc sig
application/pics-rules prf
application/pkcs7-signature p7s
application/pkix-cert cer
application/pkix-crl crl
application/pkix-pkipath pkipath
application/postscript ps ai eps epsi epsf
application/rdf+xml rdf owl
application/relax-ng-compact-syntax rnc
application/resource-lists+xml rl
application/rss+xml rss
application/rtf rtf
application/schema+json schema
application/sdp sdp
application/smil+xml smil smi
application/sparql-query rq
application/sparql-results+xml srx
application/sql sql
application/ssml+xml ssml
application/tei+xml tei teicorpus
application/toml toml
application/trig trig
application/ttml+xml ttml dfxp
application/vnd.adobe.air-application-installer-package+zip air
application/vnd.adobe.fxp fxp fxpl
application/vnd.amazon.ebook azw
application/vnd.amazon.mobi8-ebook azw3
application/vnd.android.package-archive apk
application/vnd.apache.arrow.file arrow feather
application/vnd.apache.arrow.stream arrows
application/vnd.apache.orc orc
application/vnd.apache.parquet parquet
application/vnd.apple.installer+xml mpkg pkg
application/vnd.apple.keynote key
application/vnd.apple.mpegurl m3u8
application/vnd.apple.numbers numbers
application/vnd.apple.pages pages
application/vnd.apple.pkpass pkpass
application/vnd.cinderella cdy
application/vnd.comicbook+zip cbz
application/vnd.comicbook-rar cbr
application/vnd.dart dart
application/vnd.debian.binary-package deb ddeb udeb
application/x-iso9660-image iso isoimg
application/vnd.flatpak flatpak
application/vnd.flatpak.ref flatpakref
application/vnd.flatpak.repo flatpakrepo
application/vnd.geogebra.file ggb
application/vnd.google-earth.kml+xml kml
application/vnd.google-earth.kmz kmz
application/vnd.hp-pcl pcl
application/vnd.iccprofile icc icm
application/vnd.las las
application/vnd.mapbox-vector-tile mvt
application/vnd.mif mif
application/vnd.mozilla.xul+xml xul
application/vnd.ms-cab-compressed cab
application/vnd.ms-excel xls xlt xla xlm xlc xlw xlb
application/vnd.ms-excel.addin.macroenabled.12 xlam
application/vnd.ms-excel.sheet.binary.macroenabled.12 xlsb
application/vnd.ms-excel.sheet.macroenabled.12 xlsm
application/vnd.ms-excel.template.macroenabled.12 xltm
application/vnd.ms-fontobject eot
application/vnd.ms-htmlhelp chm
application/vnd.ms-outlook msg
application/vnd.ms-powerpoint ppt pps ppa
application/vnd.ms-powerpoint.addin.macroenabled.12 ppam
application/vnd.ms-powerpoint.presentation.macroenabled.12 pptm
application/vnd.ms-powerpoint.slide.macroenabled.12 sldm
application/vnd.ms-powerpoint.slideshow.macroenabled.12 ppsm
application/vnd.ms-powerpoint.template.macroenabled.12 potm
application/vnd.ms-project mpp mpt
application/vnd.ms-word.document.macroenabled.12 docm
application/vnd.ms-word.template.macroenabled.12 dotm
application/vnd.ms-works wps wks wcm wdb
application/vnd.ms-wpl wpl
application/vnd.ms-xpsdocument xps
application/vnd.oasis.opendocument.chart odc
application/vnd.oasis.opendocument.database odb
application/vnd.oasis.opendocument.formula odf
application/vnd.oasis.opendocument.formula-template odft
application/vnd.oasis.opendocument.graphics odg fodg
application/vnd.oasis.opendocument.graphics-template otg
application/vnd.oasis.opendocument.image odi
application/vnd.oasis.opendocument.presentation odp fodp
application/vnd.oasis.opendocument.presentation-template otp
application/vnd.oasis.opendocument.spreadsheet ods fods
application/vnd.oasis.opendocument.spreadsheet-template ots
application/vnd.oasis.opendocument.text odt fodt
application/vnd.oasis.opendocument.text-master odm
application/vnd.oasis.opendocument.text-template ott
application/vnd.oasis.opendocument.text-web oth
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.presentationml.slide sldx
application/vnd.openxmlformats-officedocument.presentationml.slideshow ppsx
application/vnd.openxmlformats-officedocument.presentationml.template potx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.spreadsheetml.template xltx
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/vnd.openxmlformats-officedocument.wordprocessingml.template dotx
application/vnd.palm pdb pqa oprc
application/vnd.rar rar
application/vnd.rn-realmedia rm
application/vnd.rn-realmedia-vbr rmvb
application/vnd.snap snap
application/vnd.sqlite3 sqlite sqlite3
application/vnd.stardivision.calc sdc
application/vnd.stardivision.impress sdd
application/vnd.stardivision.writer sdw
application/vnd.sun.xml.calc sxc
application/vnd.sun.xml.draw sxd
application/vnd.sun.xml.impress sxi
application/vnd.sun.xml.writer sxw
application/vnd.sun.xml.writer.template stw
application/vnd.tcpdump.pcap pcap cap dmp
application/vnd.visio vsd vst vss vsw
application/vnd.ms-visio.drawing vsdx
application/vnd.ms-visio.drawing.macroenabled.12 vsdm
application/vnd.ms-visio.stencil vssx
application/vnd.ms-visio.template vstx
application/vnd.wap.wbxml wbxml
application/vnd.wap.wmlc wmlc
application/vnd.wap.wmlscriptc wmlsc
application/vnd.wordperfect wpd
application/voicexml+xml vxml
application/wasm wasm
application/winhlp hlp
application/wsdl+xml wsdl
application/wspolicy+xml wspolicy
application/x-7z-compressed 7z
application/x-abiword abw
application/x-ace-compressed ace
application/x-apple-diskimage dmg
application/x-bcpio bcpio
application/x-bittorrent torrent
application/x-blender blend
application/x-brotli br
application/x-bzip bz
application/x-bzip2 bz2 boz tbz tbz2
application/x-chess-pgn pgn
application/x-chrome-extension crx
application/x-cpio cpio
application/x-doom wad
application/x-dtbncx+xml ncx
application/x-dtbook+xml dtb
application/x-dvi dvi
application/x-ebuild ebuild
application/x-executable elf
application/x-font-bdf bdf
application/x-font-ghostscript gsf
application/x-font-pcf pcf
application/x-font-snf snf
application/x-font-type1 pfa pfb pfm afm
application/x-freearc arc
application/x-gnumeric gnumeric
application/x-gramps-xml gramps
application/x-gtar gtar
application/x-hdf hdf
application/x-hdf5 h5 hdf5 he5
application/x-httpd-php php php3 php4 php5 php7 phtml
application/x-httpd-php-source phps
application/x-info info
application/x-java-jnlp-file jnlp
application/x-keepass2 kdbx
application/x-latex latex
application/x-lha lha lzh
application/x-lz4 lz4
application/x-lzip lz
application/x-lzma lzma tlz
application/x-lzop lzo
application/x-mobipocket-ebook mobi prc
application/x-ms-shortcut lnk
application/x-ms-wim wim swm esd
application/x-msaccess mdb accdb
application/vnd.microsoft.portable-executable exe dll com scr cpl drv
application/x-msi msi msp mst
application/msix msix
application/appx appx
application/appxbundle appxbundle
application/msixbundle msixbundle
application/x-msmetafile emz
application/x-netcdf nc cdf
application/x-ns-proxy-autoconfig pac
application/x-nuget nupkg snupkg
application/x-object o
application/x-pkcs12 p12 pfx
application/x-pkcs7-certificates p7b spc
application/x-python-code pyc pyo
application/x-python-wheel whl
application/x-qcow2 qcow qcow2
application/x-qemu-disk qed
application/x-redhat-package-manager rpm drpm
application/x-research-info-systems ris
application/x-safetensors safetensors
application/x-shar shar
application/x-sharedlib so dylib
application/vnd.adobe.flash.movie swf swfl
application/x-silverlight-app xap
application/x-snappy-framed sz
application/x-stuffit sit
application/x-stuffitx sitx
application/x-subrip-archive srtz
application/x-sv4cpio sv4cpio
application/x-sv4crc sv4crc
application/x-tar tar
application/x-texinfo texinfo texi
application/x-ustar ustar
application/x-vdi-disk vdi
application/x-vhd-disk vhd
application/x-vhdx-disk vhdx
application/x-virtualbox-ova ova
application/x-virtualbox-ovf ovf
application/x-vmdk-disk vmdk
application/x-x509-ca-cert crt der
application/x-xfig fig
application/xliff+xml xlf xliff
application/x-xpinstall xpi
application/x-xz xz txz
application/x-zoo zoo
application/xaml+xml xaml
application/xhtml+xml xhtml xht
application/xml-dtd dtd
application/xml-external-parsed-entity ent
application/xop+xml xop
application/xproc+xml xpl
application/xquery xq xql xqm xqu xquery
application/xslt+xml xsl xslt
application/xspf+xml xspf
application/xv+xml mxml xhvml xvml xvm
application/yaml yaml yml
application/zip zip zipx
application/zstd zst tzst
application/octet-stream bin dat dist distz img npy npz pt pth onnx gguf pkl pickle buffer mar

audio/aac aac adts
audio/ac3 ac3
audio/amr amr
audio/amr-wb awb
audio/annodex axa
audio/basic au snd
audio/eac3 ec3
audio/flac flac
audio/x-matroska mka
audio/midi mid midi kar rmi
audio/mp4 m4a mp4a m4b m4r
audio/mpeg mp3 mp2 mpga mp2a m2a m3a
audio/mpegurl m3u
audio/ogg ogg oga opus spx
audio/vnd.dts dts
audio/vnd.dts.hd dtshd
audio/x-wav wav
audio/webm weba
audio/x-aiff aif aiff aifc
audio/x-ape ape
audio/x-caf caf
audio/x-ms-wax wax
audio/x-ms-wma wma
audio/x-musepack mpc
audio/x-pn-realaudio ra ram
audio/x-scpls pls
audio/x-wavpack wv

chemical/x-cif cif
chemical/x-cml cml
chemical/x-mdl-molfile mol
chemical/x-mdl-sdfile sdf
chemical/x-xyz xyz

font/collection ttc
font/otf otf
font/ttf ttf
font/woff woff
font/woff2 woff2

image/aces exr
image/apng apng
image/avif avif avifs
image/bmp bmp dib
image/cgm cgm
image/dicom-rle drle
image/emf emf
image/fits fits fit fts
image/gif gif
image/heic heic
image/heic-sequence heics
image/heif heif hif
image/heif-sequence heifs
image/ief ief
image/jls jls
image/jp2 jp2 jpg2
image/jpeg jpg jpeg jpe jfif pjpeg pjp
image/jpm jpm jpgm
image/jpx jpx jpf
image/jxl jxl
image/jxr jxr wdp hdp
image/ktx ktx
image/ktx2 ktx2
image/png png
image/sgi sgi
image/svg+xml svg svgz
image/tiff tif tiff
image/vnd.adobe.photoshop psd psb
image/vnd.djvu djvu djv
image/vnd.dwg dwg
image/vnd.dxf dxf
image/vnd.microsoft.icon ico
image/vnd.ms-dds dds
image/vnd.radiance hdr rgbe
image/vnd.wap.wbmp wbmp
image/vnd.zbrush.pcx pcx
image/webp webp
image/wmf wmf
image/x-3ds 3ds
image/x-adobe-dng dng
image/x-canon-cr2 cr2
image/x-canon-cr3 cr3
image/x-canon-crw crw
image/x-cmu-raster ras
image/x-coreldraw cdr
image/x-epson-erf erf
image/x-fuji-raf raf
image/x-icns icns
image/x-jng jng
image/x-mrsid-image mrsid
image/x-nikon-nef nef nrw
image/x-olympus-orf orf
image/x-panasonic-rw2 rw2
image/x-pentax-pef pef
image/x-pict pic pct pict
image/x-portable-anymap pnm
image/x-portable-bitmap pbm
image/x-portable-graymap pgm
image/x-portable-pixmap ppm
image/x-qoi qoi
image/x-rgb rgb
image/x-sony-arw arw
image/x-tga tga
image/x-win-bitmap cur
image/x-xbitmap xbm
image/x-xcf xcf
image/x-xpixmap xpm
image/x-xwindowdump xwd

message/rfc822 eml mime mht mhtml

model/3mf 3mf
model/gltf+json gltf
model/gltf-binary glb
model/iges igs iges
model/mesh msh mesh silo
model/mtl mtl
model/obj obj
model/step stp step
model/stl stl
model/u3d u3d
model/vnd.collada+xml dae
model/vnd.dwf dwf
model/vnd.usda usda
model/vnd.usdz+zip usdz
model/vrml wrl vrml
model/x3d+xml x3d x3dz

text/cache-manifest appcache manifest
text/calendar ics ifb
text/coffeescript coffee litcoffee
text/css css
text/csv csv
text/csv-schema csvs
text/gff3 gff3
text/html html htm shtml
text/javascript js mjs cjs es
text/jsx jsx
text/less less
text/markdown md markdown mkd mdown mdwn
text/mdx mdx
text/n3 n3
text/nfo nfo
text/plain txt text pot srt conf md5 sha1 sha256 sha512 sum cfg ini log properties prefs env editorconfig gitignore gitattributes gitmodules dockerignore npmignore npmrc nvmrc vue svelte astro lock bat cmd rc cnf out err diz tfvars tf hcl nix proto thrift cmake mk gradle gn gni bzl bazel cabal sbt gemspec podspec erb ejs pug jade haml hbs handlebars mustache njk twig liquid j2 jinja jinja2 tmpl tpl
text/prs.lines.tag dsc
text/richtext rtx
text/rust rs
text/sgml sgml sgm
text/shex shex
text/slim slim slm
text/spdx spdx
text/stylus stylus styl
text/tab-separated-values tsv tab
text/troff roff man
text/turtle ttl
text/typescript tsx cts
text/uri-list uri uris urls
text/vcard vcf vcard
text/vnd.curl curl
text/vnd.familysearch.gedcom ged
text/vnd.graphviz gv dot
text/vnd.sun.j2me.app-descriptor jad
text/vnd.wap.wml wml
text/vnd.wap.wmlscript wmls
text/vtt vtt
text/wgsl wgsl
text/x-ada adb ads
text/x-asm asm s
text/x-asciidoc adoc asciidoc
text/x-bibtex bib
text/x-c++hdr hh hpp hxx h++ ipp inl
text/x-c++src cc cpp cxx c++
text/x-chdr h
text/x-clojure clj cljs cljc edn
text/x-cobol cob cbl
text/x-common-lisp lisp lsp
text/x-csh csh
text/x-csharp cs csx
text/x-csrc c
text/x-cuda cu cuh
text/x-diff diff patch
text/x-dsrc d
text/x-elixir ex exs
text/x-elm elm
text/x-emacs-lisp el
text/x-erlang erl hrl
text/x-fortran f f77 f90 f95 f03 f08
text/x-fsharp fs fsx fsi
text/x-glsl glsl vert frag geom comp
text/x-go go
text/x-groovy groovy gvy
text/x-haskell hs
text/x-haxe hx
text/x-idl idl
text/x-java java jav
text/x-julia jl
text/x-kotlin kt kts
text/x-lilypond ly
text/x-literate-haskell lhs
text/x-lua lua
text/x-makefile makefile
text/x-objectivec m mm
text/x-meson meson
text/x-nim nim nims
text/x-ocaml ml mli
text/x-opml opml
text/x-org org
text/x-pascal pas pp
text/x-perl pl pm pod
text/x-po po
text/x-powershell ps1 psm1 psd1
text/x-python py pyw pyi pyx pxd
text/x-r r rmd
text/x-racket rkt
text/x-rpm-spec spec
text/x-rst rst rest
text/x-ruby rb rake ru
text/x-sass sass
text/x-scala scala
text/x-scheme scm ss
text/x-scss scss
text/x-setext etx
text/x-sh sh bash zsh ksh fish
text/x-solidity sol
text/x-ssa ssa ass
text/x-swift swift
text/x-tcl tcl tk
text/x-tex tex ltx sty cls
text/x-uuencode uu
text/x-vala vala vapi
text/x-vbnet vb vbs bas
text/x-vcalendar vcs
text/x-verilog v sv svh
text/x-vhdl vhdl
text/x-zig zig
text/xml xml xsd rng sch xmi jrxml plist csproj vbproj fsproj vcxproj props targets resx nuspec pom ui storyboard xib kdenlive

video/3gpp 3gp 3gpp
video/3gpp2 3g2 3gpp2
video/annodex axv
video/dv dv dif
video/h261 h261
video/h263 h263
video/h264 h264 264
video/h265 h265 hevc 265
video/iso.segment m4s cmfv cmfa cmft
video/jpeg jpgv
video/x-matroska mkv mk3d mks
video/mj2 mj2 mjp2
video/mp2t ts m2t m2ts mts
video/mp4 mp4 m4v mp4v mpg4
video/mpeg mpeg mpg mpe m1v m2v
video/ogg ogv
video/quicktime mov qt
video/vnd.radgamettools.bink bik bk2
video/webm webm
video/x-f4v f4v
video/x-flv flv
video/x-mng mng
video/x-ms-asf asf asx
video/x-ms-vob vob
video/x-ms-wm wm
video/x-ms-wmv wmv
video/x-ms-wmx wmx
video/x-ms-wvx wvx
video/x-msvideo avi
video/x-sgi-movie movie

x-conference/x-cooltalk ice
"""

_TYPES = {
    extension: f"{name}; charset=utf-8" if name.startswith("text/") else name
    for name, *extensions in map(str.split, filter(None, _TABLE.split("\n")))
    for extension in extensions
}


def guess_content_type(path: str) -> str:
    """Return the Content-Type of a file of this name."""
    _, dot, extension = path.rpartition(".")
    return _TYPES.get(extension.lower(), UNKNOWN) if dot else UNKNOWN
