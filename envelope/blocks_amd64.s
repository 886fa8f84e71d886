#include "textflag.h"

// A byte may follow a backslash, but for 'u', where what stands here for its low
// half has a bit in common with what stands here for its high half.
DATA low<>+0(SB)/8, $0x40008000d0000
DATA low<>+8(SB)/8, $0x104000200000000
GLOBL low<>(SB), RODATA|NOPTR, $16
DATA high<>+0(SB)/8, $0x804020000010000
DATA high<>+8(SB)/8, $0x0
GLOBL high<>(SB), RODATA|NOPTR, $16

// func passBlocks(b []byte) int
//
// A mask has a bit for each of 32 bytes. AX counts the bytes passed; DX is 1 when
// the last of them was a backslash.
TEXT ·passBlocks(SB), NOSPLIT, $0-32
	MOVQ b_base+0(FP), SI
	MOVQ b_len+8(FP), CX
	XORL AX, AX
	XORL DX, DX
	VBROADCASTI128 low<>(SB), Y10
	VBROADCASTI128 high<>(SB), Y11
	MOVQ $0x2222222222222222, R8
	VMOVQ R8, X12
	VPBROADCASTQ X12, Y12
	MOVQ $0x5c5c5c5c5c5c5c5c, R8
	VMOVQ R8, X13
	VPBROADCASTQ X13, Y13
	MOVQ $0x1f1f1f1f1f1f1f1f, R8
	VMOVQ R8, X14
	VPBROADCASTQ X14, Y14
	MOVQ $0x0f0f0f0f0f0f0f0f, R8
	VMOVQ R8, X15
	VPBROADCASTQ X15, Y15
	VPXOR Y9, Y9, Y9

block:
	SUBQ $32, CX
	JLT done
	VMOVDQU (SI)(AX*1), Y0
	VPCMPEQB Y0, Y12, Y1
	VPCMPEQB Y0, Y13, Y2
	VPMINUB Y0, Y14, Y3
	VPCMPEQB Y0, Y3, Y3
	VPMOVMSKB Y1, R8  // quotes
	VPMOVMSKB Y2, R9  // backslashes
	VPMOVMSKB Y3, R10 // control bytes
	MOVL R8, R11
	ORL R9, R11
	ORL DX, R11
	ORL R10, R11
	JZ plain

	TESTL R10, R10
	JNZ done
	LEAQ (DX)(R9*2), R11 // what follows a backslash
	TESTL R9, R11
	JNZ done             // another one: which of a row escapes is not worked out here
	MOVL R11, R12
	NOTL R12
	TESTL R8, R12
	JNZ done             // the string's end
	VPSRLW $4, Y0, Y1
	VPAND Y15, Y1, Y1
	VPSHUFB Y1, Y11, Y1
	VPAND Y15, Y0, Y2
	VPSHUFB Y2, Y10, Y2
	VPAND Y1, Y2, Y1
	VPCMPEQB Y9, Y1, Y1
	VPMOVMSKB Y1, R12
	TESTL R11, R12
	JNZ done             // not an escape of two bytes
	MOVL R9, DX
	SHRL $31, DX

plain:
	ADDQ $32, AX
	JMP block

done:
	SUBQ DX, AX // an escape that is cut stays whole for the caller
	MOVQ AX, ret+24(FP)
	VZEROUPPER
	RET
