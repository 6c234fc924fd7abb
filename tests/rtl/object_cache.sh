#!/bin/sh
# Compiles, or copies an object of Verilator's own library that the same command made before.
# Verilator's makefiles put OBJCACHE in front of the compiler; PLAIT_OBJECTS is where objects stay.
source= object= previous=
for word; do
  case $word in */verilated*.cpp) source=$word ;; esac
  [ "$previous" = -o ] && object=$word
  previous=$word
done
[ -n "$source" ] && [ -n "$object" ] || exec "$@"
kept=$PLAIT_OBJECTS/$(printf '%s\n' "$@" | cksum | tr ' ' -).o
[ -e "$kept" ] && exec cp "$kept" "$object"
"$@" || exit
mkdir -p "$PLAIT_OBJECTS" && cp "$object" "$kept.$$" && mv "$kept.$$" "$kept"
