#include "textflag.h"

// GATHER puts in front of AX a bit for each digit of z that is above 2^52-1, and
// in front of R9 one for each that is just that.
#define GATHER(z) \
	VPCMPUQ $6, Z19, z, K2 \
	VPCMPUQ $0, Z19, z, K3 \
	KMOVB K2, R10 \
	KMOVB K3, R11 \
	SHLQ $8, AX \
	SHLQ $8, R9 \
	ORQ R10, AX \
	ORQ R11, R9

// CARRY adds one to the digits of z that AX has a bit for, and takes the bits off
// AX. Z16 is -1 in each digit.
#define CARRY(z) \
	KMOVB AX, K2 \
	SHRQ $8, AX \
	VPSUBQ Z16, z, K2, z \
	VPANDQ Z19, z, z

// func multiplyIFMA(out, a, b, n *number, inverse uint64)
//
// The textbook's Montgomery multiplication, digit by digit of b, with the digits
// of a, n and the running sum side by side in five registers each. The sum is
// carried on only at the end: of its 64 bits a digit needs 52, and 40 rounds add
// at most four numbers of 52 bits each. Against one accumulator for all, with the
// lowest digit among them, it takes two thirds of the time (BenchmarkExp): what
// bounds it is how long a round waits for the one before.
//
//	Z0-Z4    a              Z10-Z14  sum              Z20-Z24  high halves of a round
//	Z5-Z9    n              R11      its lowest digit
//	Z15      digit of b     Z16, DX  digit of the quotient
//	Z17      zero           Z19, SI  2^52-1
//	R12      lowest of a    R13      lowest of n      R8       -1/n modulo 2^52
TEXT ·multiplyIFMA(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), BX
	MOVQ n+24(FP), DX
	MOVQ inverse+32(FP), R8

	VMOVDQU64 0(SI), Z0
	VMOVDQU64 64(SI), Z1
	VMOVDQU64 128(SI), Z2
	VMOVDQU64 192(SI), Z3
	VMOVDQU64 256(SI), Z4
	VMOVDQU64 0(DX), Z5
	VMOVDQU64 64(DX), Z6
	VMOVDQU64 128(DX), Z7
	VMOVDQU64 192(DX), Z8
	VMOVDQU64 256(DX), Z9
	VPXORQ Z10, Z10, Z10
	VPXORQ Z11, Z11, Z11
	VPXORQ Z12, Z12, Z12
	VPXORQ Z13, Z13, Z13
	VPXORQ Z14, Z14, Z14
	VPXORQ Z17, Z17, Z17
	MOVQ 0(SI), R12
	MOVQ 0(DX), R13
	MOVQ $0xfffffffffffff, SI
	VPBROADCASTQ SI, Z19
	XORL R11, R11
	MOVQ $40, CX

digit:
	// The lowest digit of the sum, R11, is kept apart and whole, in R10:R11: so
	// the next quotient waits for nothing but what comes down from the second.
	MOVQ (BX), DX
	VPBROADCASTQ DX, Z15
	ADDQ $8, BX
	MULXQ R12, R9, R10
	ADDQ R9, R11
	ADCQ $0, R10

	// The multiple of n that makes the lowest digit zero.
	MOVQ R11, DX
	IMULQ R8, DX
	ANDQ SI, DX
	VPBROADCASTQ DX, Z16
	MULXQ R13, R9, AX
	ADDQ R9, R11
	ADCQ AX, R10
	SHRQ $52, R10, R11

	// sum += the low halves of a * digit + n * quotient
	VPMADD52LUQ Z0, Z15, Z10
	VPMADD52LUQ Z1, Z15, Z11
	VPMADD52LUQ Z2, Z15, Z12
	VPMADD52LUQ Z3, Z15, Z13
	VPMADD52LUQ Z4, Z15, Z14
	VPMADD52LUQ Z5, Z16, Z10
	VPEXTRQ $1, X10, AX
	VPMADD52LUQ Z6, Z16, Z11
	VPMADD52LUQ Z7, Z16, Z12
	VPMADD52LUQ Z8, Z16, Z13
	VPMADD52LUQ Z9, Z16, Z14
	ADDQ AX, R11

	// The high halves, which belong a digit higher: gathered apart, so that one
	// addition need not wait for the other.
	VPXORQ Z20, Z20, Z20
	VPXORQ Z21, Z21, Z21
	VPXORQ Z22, Z22, Z22
	VPXORQ Z23, Z23, Z23
	VPXORQ Z24, Z24, Z24
	VPMADD52HUQ Z0, Z15, Z20
	VPMADD52HUQ Z1, Z15, Z21
	VPMADD52HUQ Z2, Z15, Z22
	VPMADD52HUQ Z3, Z15, Z23
	VPMADD52HUQ Z4, Z15, Z24
	VPMADD52HUQ Z5, Z16, Z20
	VPMADD52HUQ Z6, Z16, Z21
	VPMADD52HUQ Z7, Z16, Z22
	VPMADD52HUQ Z8, Z16, Z23
	VPMADD52HUQ Z9, Z16, Z24

	// sum /= 2^52: all move down a digit, to where the high halves belong.
	VALIGNQ $1, Z10, Z11, Z10
	VALIGNQ $1, Z11, Z12, Z11
	VALIGNQ $1, Z12, Z13, Z12
	VALIGNQ $1, Z13, Z14, Z13
	VALIGNQ $1, Z14, Z17, Z14
	VPADDQ Z20, Z10, Z10
	VPADDQ Z21, Z11, Z11
	VPADDQ Z22, Z12, Z12
	VPADDQ Z23, Z13, Z13
	VPADDQ Z24, Z14, Z14
	DECQ CX
	JNZ digit

	// The place of the lowest digit holds nothing of use until here.
	MOVL $1, AX
	KMOVB AX, K1
	VPBROADCASTQ R11, K1, Z10

	// Carry on what digits have above 52 bits, all at once. Afterwards they have
	// 2^52+2^12 at most.
	VPSRLQ $52, Z10, Z20
	VPSRLQ $52, Z11, Z21
	VPSRLQ $52, Z12, Z22
	VPSRLQ $52, Z13, Z23
	VPSRLQ $52, Z14, Z24
	VPANDQ Z19, Z10, Z10
	VPANDQ Z19, Z11, Z11
	VPANDQ Z19, Z12, Z12
	VPANDQ Z19, Z13, Z13
	VPANDQ Z19, Z14, Z14
	VALIGNQ $7, Z23, Z24, Z24
	VALIGNQ $7, Z22, Z23, Z23
	VALIGNQ $7, Z21, Z22, Z22
	VALIGNQ $7, Z20, Z21, Z21
	VALIGNQ $7, Z17, Z20, Z20
	VPADDQ Z20, Z10, Z10
	VPADDQ Z21, Z11, Z11
	VPADDQ Z22, Z12, Z12
	VPADDQ Z23, Z13, Z13
	VPADDQ Z24, Z14, Z14

	// What is left are carries of one, which may run through digits that are all
	// ones. An addition runs them, a bit for each digit: AX has the digits that
	// carry, R9 those that pass a carry on.
	XORL AX, AX
	XORL R9, R9
	GATHER(Z14)
	GATHER(Z13)
	GATHER(Z12)
	GATHER(Z11)
	GATHER(Z10)
	LEAQ (R9)(AX*2), AX
	XORQ R9, AX

	VPTERNLOGQ $0xff, Z16, Z16, Z16
	CARRY(Z10)
	CARRY(Z11)
	CARRY(Z12)
	CARRY(Z13)
	CARRY(Z14)

	VMOVDQU64 Z10, 0(DI)
	VMOVDQU64 Z11, 64(DI)
	VMOVDQU64 Z12, 128(DI)
	VMOVDQU64 Z13, 192(DI)
	VMOVDQU64 Z14, 256(DI)
	VZEROUPPER
	RET
