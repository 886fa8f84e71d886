//go:build race

package rig

const RaceEnabled = true
