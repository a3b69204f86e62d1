//go:build !linux

package app

// releaseBinary does nothing: only on Linux is it known which pages are the binary's.
func releaseBinary() {}
