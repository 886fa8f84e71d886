#include "textflag.h"

// The rows of the schoolbook: a word times a row of words is added to the row of
// sums below it. A row has two chains of carries, which do not touch each other's
// flag, so that the processor need not wait for one to go on with the other:
// ADCX adds the high half of a product to the low half of the next one, ADOX adds
// that to the sum. (Ozturk, Guilford, Gopal and Feghali, "New Instructions
// Supporting Large Integer Arithmetic on Intel Architecture Processors", 2012.)
// The sums stay in memory: with eight of them in registers, as is usual, a row
// of eight costs three additions more, a tenth of the time (BenchmarkExp).
//
//	DX  multiplier   SI  row of words   DI  row of sums   R8, R9  high halves in turn

// STEP adds the product of DX and the word v to the sum t. in is the high half of
// the step before, out its own.
#define STEP(v, t, in, out) \
	MULXQ v, AX, out \
	ADCXQ in, AX \
	ADOXQ t, AX \
	MOVQ AX, t

// EIGHT steps take in R8 and leave R8.
#define EIGHT(off, V, T) \
	STEP(off+0(V), off+0(T), R8, R9) \
	STEP(off+8(V), off+8(T), R9, R8) \
	STEP(off+16(V), off+16(T), R8, R9) \
	STEP(off+24(V), off+24(T), R9, R8) \
	STEP(off+32(V), off+32(T), R8, R9) \
	STEP(off+40(V), off+40(T), R9, R8) \
	STEP(off+48(V), off+48(T), R8, R9) \
	STEP(off+56(V), off+56(T), R9, R8)

// BEGIN starts a row: nothing is carried in. XOR clears both flags.
#define BEGIN \
	XORL R8, R8

// END makes R8 the word above the row's sums, with both carries: it cannot
// overflow. MOVL leaves the flags alone.
#define END \
	MOVL $0, AX \
	ADCXQ AX, R8 \
	ADOXQ AX, R8

// func product(t *double, a, b *number)
TEXT ·product(SB), NOSPLIT, $0-24
	MOVQ t+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), BX
	MOVL $32, CX

row:
	MOVQ (BX), DX
	BEGIN
	EIGHT(0, SI, DI)
	EIGHT(64, SI, DI)
	EIGHT(128, SI, DI)
	EIGHT(192, SI, DI)
	END
	MOVQ R8, 256(DI)
	ADDQ $8, BX
	ADDQ $8, DI
	DECQ CX
	JNZ row
	RET

// func reduce(t *double, n *number, inverse uint64) (carry uint64)
//
// R10 is -1/n modulo 2^64, R11 the carry that a row leaves for the next one's top.
TEXT ·reduce(SB), NOSPLIT, $0-32
	MOVQ t+0(FP), DI
	MOVQ n+8(FP), SI
	MOVQ inverse+16(FP), R10
	XORL R11, R11
	MOVL $32, CX

row:
	// The multiple of n that makes the lowest word zero.
	MOVQ (DI), DX
	IMULQ R10, DX
	BEGIN
	EIGHT(0, SI, DI)
	EIGHT(64, SI, DI)
	EIGHT(128, SI, DI)
	EIGHT(192, SI, DI)
	END
	// END leaves AX zero. At most one of the two additions carries.
	ADDQ R11, R8
	ADCQ $0, AX
	ADDQ R8, 256(DI)
	ADCQ $0, AX
	MOVQ AX, R11
	ADDQ $8, DI
	DECQ CX
	JNZ row
	MOVQ R11, carry+24(FP)
	RET

// FIRST begins row k of a block of eight: a's word k is to be multiplied by each
// one above it. R10 and R11 point to what is above the block.
#define FIRST(k) \
	MOVQ (8*k)(SI), DX \
	LEAQ 64(SI), R10 \
	LEAQ (64+8*k)(DI), R11 \
	MOVQ BX, CX \
	BEGIN

// INNER is a step of it inside the block: word k by word j.
#define INNER(k, j, in, out) \
	STEP((8*j)(SI), (8*(k+j))(DI), in, out)

// OUTER are the steps above the block, eight at a time, CX times, and the row's
// end. LEAQ and JCXZQ leave the flags alone; JCXZQ reaches no farther than 127
// bytes.
#define OUTER(more, test, end) \
	JMP test \
more: \
	EIGHT(0, R10, R11) \
	LEAQ 64(R10), R10 \
	LEAQ 64(R11), R11 \
	LEAQ -1(CX), CX \
test: \
	JCXZQ end \
	JMP more \
end: \
	END \
	MOVQ R8, (R11)

// DOUBLE doubles the sums 2k and 2k+1 and adds the square of word k. ADCX carries
// what is doubled, ADOX what is added.
#define DOUBLE(k) \
	MOVQ (8*k)(SI), DX \
	MULXQ DX, R8, R9 \
	MOVQ (16*k)(DI), R10 \
	MOVQ (16*k+8)(DI), R11 \
	ADCXQ R10, R10 \
	ADOXQ R8, R10 \
	MOVQ R10, (16*k)(DI) \
	ADCXQ R11, R11 \
	ADOXQ R9, R11 \
	MOVQ R11, (16*k+8)(DI)

// func square(t *double, a *number)
//
// First the products of two different words, each once, in four blocks of eight
// rows; a row goes from the word after its own to the last one. Then these are
// doubled, and the squares of the words added. BX is how many blocks are above.
TEXT ·square(SB), NOSPLIT, $0-16
	MOVQ t+0(FP), DI
	MOVQ a+8(FP), SI
	MOVL $3, BX

block:
	FIRST(0)
	INNER(0, 1, R8, R9)
	INNER(0, 2, R9, R8)
	INNER(0, 3, R8, R9)
	INNER(0, 4, R9, R8)
	INNER(0, 5, R8, R9)
	INNER(0, 6, R9, R8)
	INNER(0, 7, R8, R9)
	MOVQ R9, R8
	OUTER(more0, test0, end0)

	FIRST(1)
	INNER(1, 2, R8, R9)
	INNER(1, 3, R9, R8)
	INNER(1, 4, R8, R9)
	INNER(1, 5, R9, R8)
	INNER(1, 6, R8, R9)
	INNER(1, 7, R9, R8)
	OUTER(more1, test1, end1)

	FIRST(2)
	INNER(2, 3, R8, R9)
	INNER(2, 4, R9, R8)
	INNER(2, 5, R8, R9)
	INNER(2, 6, R9, R8)
	INNER(2, 7, R8, R9)
	MOVQ R9, R8
	OUTER(more2, test2, end2)

	FIRST(3)
	INNER(3, 4, R8, R9)
	INNER(3, 5, R9, R8)
	INNER(3, 6, R8, R9)
	INNER(3, 7, R9, R8)
	OUTER(more3, test3, end3)

	FIRST(4)
	INNER(4, 5, R8, R9)
	INNER(4, 6, R9, R8)
	INNER(4, 7, R8, R9)
	MOVQ R9, R8
	OUTER(more4, test4, end4)

	FIRST(5)
	INNER(5, 6, R8, R9)
	INNER(5, 7, R9, R8)
	OUTER(more5, test5, end5)

	FIRST(6)
	INNER(6, 7, R8, R9)
	MOVQ R9, R8
	OUTER(more6, test6, end6)

	FIRST(7)
	OUTER(more7, test7, end7)

	ADDQ $64, SI
	ADDQ $128, DI
	DECQ BX
	JGE block

	MOVQ t+0(FP), DI
	MOVQ a+8(FP), SI
	MOVL $4, CX
	XORL AX, AX // clears both flags

double:
	DOUBLE(0)
	DOUBLE(1)
	DOUBLE(2)
	DOUBLE(3)
	DOUBLE(4)
	DOUBLE(5)
	DOUBLE(6)
	DOUBLE(7)
	LEAQ 64(SI), SI
	LEAQ 128(DI), DI
	LEAQ -1(CX), CX
	JCXZQ doubled
	JMP double

doubled:
	RET
