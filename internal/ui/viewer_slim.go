//go:build slim

package ui

// viewer is empty: slim builds have no 3D view, and offer models for download.
var viewer []byte
