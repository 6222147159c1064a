#!/bin/sh
# furnish.sh FOLDER IMAGE MOUNTS: in a mount namespace of its own, makes FOLDER/root what a task of pyxis sees
# (https://github.com/NVIDIA/enroot/blob/master/doc/configuration.md): a squashfs file that can't be written to,
# the system's folders, the host's /tmp, then `SOURCE:TARGET[:ro]`, separated by commas.
set -eu
folder=$1 image=$2 mounts=$3 root=$1/root
case $image in /*) ;; *) echo "pyxis stand-in: not a file: $image" >&2 && exit 2 ;; esac
mkdir -p "$folder"
mount -t tmpfs none "$folder"
mkdir "$folder/image" "$folder/upper" "$folder/work" "$root"
mount -t squashfs -o loop,ro "$image" "$folder/image"
mount -t overlay -o "lowerdir=$folder/image,upperdir=$folder/upper,workdir=$folder/work" none "$root"
bind() {
  if [ -d "$1" ]; then
    mkdir -p "$root$2"
  else
    mkdir -p "$(dirname "$root$2")"
    [ -e "$root$2" ] || : >"$root$2"
  fi
  mount "${3:---rbind}" "$1" "$root$2"
}
for each in /proc /sys /dev; do bind "$each" "$each"; done
# Not what is mounted below /tmp: this folder may be.
for each in /tmp /etc/hosts /etc/resolv.conf; do [ ! -e "$each" ] || bind "$each" "$each" --bind; done
IFS=,
set -f
for each in $mounts; do
  source=${each%%:*} rest=${each#*:}
  target=${rest%%:*} flags=
  case $rest in *:*) flags=${rest#*:} ;; esac
  [ -e "$source" ] || { echo "pyxis stand-in: no $source" >&2 && exit 3; }
  bind "$source" "$target"
  case $flags in
  '') ;;
  ro) mount -o remount,bind,ro "$root$target" ;;
  *) echo "pyxis stand-in: mount flags $flags" >&2 && exit 4 ;;
  esac
done
mount -o remount,ro "$root"
