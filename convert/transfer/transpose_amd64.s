//go:build !noasm

#include "textflag.h"

// func transpose8x8x2(dst *byte, dstPitch int, src *byte, srcPitch int, n int)
TEXT ·transpose8x8x2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ dstPitch+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ srcPitch+24(FP), CX
	MOVQ n+32(FP), BX
	LEAQ (CX)(CX*2), R8 // 3 rows of src
	LEAQ (DX)(DX*2), R9 // 3 rows of dst

block8:
	LEAQ  (SI)(CX*4), R10
	MOVOU (SI), X0
	MOVOU (SI)(CX*1), X1
	MOVOU (SI)(CX*2), X2
	MOVOU (SI)(R8*1), X3
	MOVOU (R10), X4
	MOVOU (R10)(CX*1), X5
	MOVOU (R10)(CX*2), X6
	MOVOU (R10)(R8*1), X7

	// Pairs of rows, element by element: X0, X8 are columns 0-3 and 4-7 of rows 0 and 1.
	MOVO      X0, X8
	PUNPCKLWL X1, X0
	PUNPCKHWL X1, X8
	MOVO      X2, X9
	PUNPCKLWL X3, X2
	PUNPCKHWL X3, X9
	MOVO      X4, X10
	PUNPCKLWL X5, X4
	PUNPCKHWL X5, X10
	MOVO      X6, X11
	PUNPCKLWL X7, X6
	PUNPCKHWL X7, X11

	// Four rows: X0, X1, X8, X3 are columns 0-1, 2-3, 4-5, 6-7 of rows 0 to 3.
	MOVO      X0, X1
	PUNPCKLLQ X2, X0
	PUNPCKHLQ X2, X1
	MOVO      X8, X3
	PUNPCKLLQ X9, X8
	PUNPCKHLQ X9, X3
	MOVO      X4, X5
	PUNPCKLLQ X6, X4
	PUNPCKHLQ X6, X5
	MOVO      X10, X7
	PUNPCKLLQ X11, X10
	PUNPCKHLQ X11, X7

	// All rows: a column in each register.
	MOVO       X0, X2
	PUNPCKLQDQ X4, X0
	PUNPCKHQDQ X4, X2
	MOVO       X1, X6
	PUNPCKLQDQ X5, X1
	PUNPCKHQDQ X5, X6
	MOVO       X8, X9
	PUNPCKLQDQ X10, X8
	PUNPCKHQDQ X10, X9
	MOVO       X3, X11
	PUNPCKLQDQ X7, X3
	PUNPCKHQDQ X7, X11

	LEAQ  (DI)(DX*4), R10
	MOVOU X0, (DI)
	MOVOU X2, (DI)(DX*1)
	MOVOU X1, (DI)(DX*2)
	MOVOU X6, (DI)(R9*1)
	MOVOU X8, (R10)
	MOVOU X9, (R10)(DX*1)
	MOVOU X3, (R10)(DX*2)
	MOVOU X11, (R10)(R9*1)

	ADDQ $16, SI
	LEAQ (DI)(DX*8), DI
	DECQ BX
	JNZ  block8
	RET

// func transpose4x4x4(dst *byte, dstPitch int, src *byte, srcPitch int, n int)
TEXT ·transpose4x4x4(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ dstPitch+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ srcPitch+24(FP), CX
	MOVQ n+32(FP), BX
	LEAQ (CX)(CX*2), R8
	LEAQ (DX)(DX*2), R9

block4:
	MOVOU (SI), X0
	MOVOU (SI)(CX*1), X1
	MOVOU (SI)(CX*2), X2
	MOVOU (SI)(R8*1), X3

	// Pairs of rows: X0, X4 are columns 0-1 and 2-3 of rows 0 and 1.
	MOVO      X0, X4
	PUNPCKLLQ X1, X0
	PUNPCKHLQ X1, X4
	MOVO      X2, X5
	PUNPCKLLQ X3, X2
	PUNPCKHLQ X3, X5

	MOVO       X0, X1
	PUNPCKLQDQ X2, X0
	PUNPCKHQDQ X2, X1
	MOVO       X4, X3
	PUNPCKLQDQ X5, X4
	PUNPCKHQDQ X5, X3

	MOVOU X0, (DI)
	MOVOU X1, (DI)(DX*1)
	MOVOU X4, (DI)(DX*2)
	MOVOU X3, (DI)(R9*1)

	ADDQ $16, SI
	LEAQ (DI)(DX*4), DI
	DECQ BX
	JNZ  block4
	RET
