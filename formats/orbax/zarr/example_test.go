package zarr_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/orbax/zarr"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func ExampleOpen() {
	source := fstest.MapFS{
		"w/.zarray": {Data: []byte(`{"zarr_format": 2, "shape": [3], "chunks": [2], "dtype": "|u1", "order": "C",
			"compressor": null, "filters": null, "fill_value": 0}`)},
		"w/0": {Data: []byte{1, 2}},
		"w/1": {Data: []byte{3, 0}},
	}
	store := zarr.DirStore(source, ".")
	defer store.Close()
	array, err := zarr.Open(store, "w", zarr.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	values, err := tensor.Float32s(context.Background(), &tensor.Tensor{DType: array.DType, Shape: array.Shape, Data: array})
	fmt.Println(array.DType, array.Shape, array.Codec(), values, err)
	// Output: uint8 [3] none [1 2 3] <nil>
}
