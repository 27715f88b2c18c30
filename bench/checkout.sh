#!/usr/bin/env bash
# What git-sync does for one sync, where git-sync itself is not at hand: checkout.sh URL ROOT
set -euo pipefail
url=$1 root=$2

mkdir -p "$root/.worktrees"
if [[ ! -d $root/.git ]]; then git init -q "$root"; fi
cd "$root"
git fetch -q --depth 1 --no-tags "$url" main
commit=$(git rev-parse FETCH_HEAD)
previous=$(readlink current || true)
if [[ $previous == ".worktrees/$commit" ]]; then exit; fi
git worktree add -q --detach --no-checkout ".worktrees/$commit" "$commit"
git -C ".worktrees/$commit" reset -q --hard "$commit"
ln -s ".worktrees/$commit" "current.$$"
mv -T "current.$$" current
if [[ -n $previous ]]; then git worktree remove --force "$previous"; fi
