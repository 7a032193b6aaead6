//go:build 386 || arm || mips || mipsle

package protocol

// This file does not compile, on purpose: its error says why there is no build for 32
// bits.
const no32Bits int = "Starling needs a 64-bit platform: on 32 bits Badger writes corrupt checkpoints, and many lengths and counts do not fit an int"
