#!/usr/bin/env bash
# Put a Chromium that can draw Chinese at .tools/bin/chromium: the machine's own, else Debian's, which root
# installs by apt-get and an ordinary user unpacks under .tools. Anything else is a failure, never a skip.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="$PWD/.tools"
target="$tools/bin/chromium"
packages=(chromium fonts-noto-cjk fontconfig-config)
mkdir -p "$tools/bin"
rm -f "$target" # it is on the Makefile's path and must not find itself

has_cjk_font() {
  compgen -G "/usr/share/fonts/opentype/noto/*CJK*" >/dev/null || { fc-list :lang=zh 2>/dev/null | grep -q .; }
}

write_link_to_system() {
  ln -sfn "$(command -v chromium)" "$target"
}

install_as_root() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${packages[@]}"
  write_link_to_system
}

unpack_as_user() {
  local apt="$tools/apt" root="$tools/chromium"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$root"
  local options=(-o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "Dir::Cache::archives=$apt/cache/archives"
    -o Debug::NoLocking=true -o APT::Sandbox::User= -o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success=)
  apt-get -qq "${options[@]}" update
  # What is installed on the machine already is left out by apt itself, and every package's hash is checked.
  apt-get -qq -y "${options[@]}" --no-install-recommends --download-only install "${packages[@]}"
  local package
  for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$root"; done
  rm -rf "$apt"
  # Some packages keep libraries in folders of their own, which they are found in only when installed.
  local libraries
  libraries=$(find "$root/usr/lib" "$root/lib" -name '*.so*' -not -path "$root/usr/lib/chromium/*" -printf '%h\n' | sort -u | paste -sd:)
  cat >"$root/fonts.conf" <<CONF
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>$root/usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>$root/font-cache</cachedir>
</fontconfig>
CONF
  local program=/usr/lib/chromium/chromium
  [ -x "$root$program" ] && program="$root$program"
  cat >"$target.draft" <<WRAPPER
#!/bin/sh
export LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export FONTCONFIG_FILE="$root/fonts.conf"
exec "$program" "\$@"
WRAPPER
  chmod 755 "$target.draft"
  mv -f "$target.draft" "$target"
}

if command -v chromium >/dev/null && has_cjk_font; then
  write_link_to_system
elif [ "$(id -u)" = 0 ]; then
  install_as_root
else
  unpack_as_user
fi
"$target" --headless --no-sandbox --disable-gpu --version
