#include "textflag.h"

// Blocks of the schoolbook: eight words times eight words are added to sixteen
// sums, of which the upper eight stay in registers, since they are the lower ones
// of the next block. Here a load and a store a word are worth more than with the
// two flags of amd64: a row has one chain of carries for the low halves of its
// products and one for the high halves, each of them whole.
//
//	R0-R7    sums      R16, R17  a product's half, in turn    R24  sums in memory
//	R8-R15   eight     R19       -1/n modulo 2^64             R25  multipliers
//	         words     R20       blocks to do                 R26  words
//	R21      multiplier R22      rows of blocks to do         R23  carry of a row

// LOW and HIGH add half a product to a sum; op says whether with the carry.
#define LOW(op, v, half, sum) \
	MUL v, R21, half \
	op half, sum, sum
#define HIGH(op, v, half, sum) \
	UMULH v, R21, half \
	op half, sum, sum

// ROW adds R21 times the words, and the sum k in memory, to the sums a0 to a7. It
// leaves the lowest in memory, instead of which put may leave something else. a0
// then becomes the sum above a7: nothing overflows, since all that is added is
// below 2^(64*9).
#define ROW(k, put, a0, a1, a2, a3, a4, a5, a6, a7) \
	LOW(ADDS, R8, R16, a0) \
	LOW(ADCS, R9, R17, a1) \
	LOW(ADCS, R10, R16, a2) \
	LOW(ADCS, R11, R17, a3) \
	LOW(ADCS, R12, R16, a4) \
	LOW(ADCS, R13, R17, a5) \
	LOW(ADCS, R14, R16, a6) \
	LOW(ADCS, R15, R17, a7) \
	ADC ZR, ZR, R23 \
	MOVD (8*k)(R24), R16 \
	ADDS R16, a0, a0 \
	HIGH(ADCS, R8, R17, a1) \
	HIGH(ADCS, R9, R16, a2) \
	HIGH(ADCS, R10, R17, a3) \
	HIGH(ADCS, R11, R16, a4) \
	HIGH(ADCS, R12, R17, a5) \
	HIGH(ADCS, R13, R16, a6) \
	HIGH(ADCS, R14, R17, a7) \
	MOVD put, (8*k)(R24) \
	UMULH R15, R21, R16 \
	ADC R16, R23, a0

// MULTIPLY is a row whose multiplier is word k at R25.
#define MULTIPLY(k, a0, a1, a2, a3, a4, a5, a6, a7) \
	MOVD (8*k)(R25), R21 \
	ROW(k, a0, a0, a1, a2, a3, a4, a5, a6, a7)

// ELIMINATE is a row whose multiplier makes the lowest sum zero. In the place of
// that it leaves the multiplier, for the blocks after this one.
#define ELIMINATE(k, a0, a1, a2, a3, a4, a5, a6, a7) \
	MOVD (8*k)(R24), R21 \
	ADD a0, R21, R21 \
	MUL R19, R21, R21 \
	ROW(k, R21, a0, a1, a2, a3, a4, a5, a6, a7)

// BLOCK is eight rows; after them R0 is the lowest of the sums again.
#define BLOCK(row) \
	row(0, R0, R1, R2, R3, R4, R5, R6, R7) \
	row(1, R1, R2, R3, R4, R5, R6, R7, R0) \
	row(2, R2, R3, R4, R5, R6, R7, R0, R1) \
	row(3, R3, R4, R5, R6, R7, R0, R1, R2) \
	row(4, R4, R5, R6, R7, R0, R1, R2, R3) \
	row(5, R5, R6, R7, R0, R1, R2, R3, R4) \
	row(6, R6, R7, R0, R1, R2, R3, R4, R5) \
	row(7, R7, R0, R1, R2, R3, R4, R5, R6)

// NEXT loads eight words, and goes on behind them.
#define NEXT \
	LDP.P 16(R26), (R8, R9) \
	LDP.P 16(R26), (R10, R11) \
	LDP.P 16(R26), (R12, R13) \
	LDP.P 16(R26), (R14, R15)

// CLEAR makes the sums in registers zero, but for R0.
#define CLEAR \
	MOVD ZR, R1 \
	MOVD ZR, R2 \
	MOVD ZR, R3 \
	MOVD ZR, R4 \
	MOVD ZR, R5 \
	MOVD ZR, R6 \
	MOVD ZR, R7

// STORE puts the sums in registers where R24 points to.
#define STORE \
	STP (R0, R1), 0(R24) \
	STP (R2, R3), 16(R24) \
	STP (R4, R5), 32(R24) \
	STP (R6, R7), 48(R24)

// GATHER adds the sums in memory to those in registers, after op has added the
// first one, and leaves the carry in the flag.
#define GATHER(op) \
	LDP 0(R24), (R8, R9) \
	LDP 16(R24), (R10, R11) \
	LDP 32(R24), (R12, R13) \
	LDP 48(R24), (R14, R15) \
	op R8, R0, R0 \
	ADCS R9, R1, R1 \
	ADCS R10, R2, R2 \
	ADCS R11, R3, R3 \
	ADCS R12, R4, R4 \
	ADCS R13, R5, R5 \
	ADCS R14, R6, R6 \
	ADCS R15, R7, R7

// blocks multiplies the eight multipliers by R20 times eight words. It takes the
// registers above, and leaves R24 and R26 behind the last block.
TEXT blocks<>(SB), NOSPLIT, $0-0
block:
	NEXT
	BLOCK(MULTIPLY)
	ADD $64, R24
	SUB $1, R20
	CBNZ R20, block
	RET

// func product(t *double, a, b *number)
TEXT ·product(SB), NOSPLIT, $8-24
	MOVD t+0(FP), R24
	MOVD a+8(FP), R26
	MOVD b+16(FP), R25
	MOVD $4, R22

row:
	MOVD ZR, R0
	CLEAR
	MOVD $4, R20
	CALL blocks<>(SB)
	STORE
	SUB $192, R24
	SUB $256, R26
	ADD $64, R25
	SUB $1, R22
	CBNZ R22, row
	RET

// func reduce(t *double, n *number, inverse uint64) (carry uint64)
TEXT ·reduce(SB), NOSPLIT, $8-32
	MOVD t+0(FP), R24
	MOVD n+8(FP), R26
	MOVD inverse+16(FP), R19
	MOVD ZR, carry+24(FP)
	MOVD $4, R22

row:
	MOVD ZR, R0
	CLEAR
	NEXT
	BLOCK(ELIMINATE)
	MOVD R24, R25
	ADD $64, R24
	MOVD $3, R20
	CALL blocks<>(SB)
	// The carry of the row before belongs here.
	MOVD carry+24(FP), R16
	CMP $1, R16 // sets the flag where it is 1
	GATHER(ADCS)
	ADC ZR, ZR, R16
	MOVD R16, carry+24(FP)
	STORE
	SUB $192, R24
	SUB $256, R26
	SUB $1, R22
	CBNZ R22, row
	RET

// func square(t *double, a *number)
//
// First the products of two different blocks of eight words, each once. Then
// these are doubled, and the squares of the blocks added.
TEXT ·square(SB), NOSPLIT, $8-16
	MOVD t+0(FP), R24
	MOVD a+8(FP), R25
	ADD $64, R24
	MOVD $3, R22

row:
	ADD $64, R25, R26
	MOVD ZR, R0
	CLEAR
	MOVD R22, R20
	CALL blocks<>(SB)
	STORE
	// Down again by the R22 blocks, and up by two.
	SUB R22<<6, R24
	ADD $128, R24
	ADD $64, R25
	SUB $1, R22
	CBNZ R22, row

	MOVD t+0(FP), R24
	MOVD $16, R20
	ADDS ZR, ZR, ZR // clears the flag, which nothing in the loop but ADCS touches

double:
	LDP 0(R24), (R8, R9)
	LDP 16(R24), (R10, R11)
	ADCS R8, R8, R8
	ADCS R9, R9, R9
	ADCS R10, R10, R10
	ADCS R11, R11, R11
	STP.P (R8, R9), 16(R24)
	STP.P (R10, R11), 16(R24)
	SUB $1, R20
	CBNZ R20, double

	// R0 carries from one square to the next.
	MOVD t+0(FP), R24
	MOVD a+8(FP), R25
	MOVD R25, R26
	MOVD ZR, R0
	MOVD $4, R22

diagonal:
	CLEAR
	MOVD $1, R20
	CALL blocks<>(SB)
	GATHER(ADDS)
	STORE
	ADC ZR, ZR, R0
	ADD $64, R24
	ADD $64, R25
	SUB $1, R22
	CBNZ R22, diagonal
	RET
