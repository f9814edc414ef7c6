//go:build !unix && !windows

package mapped

import (
	"io"
	"os"
)

func mapFile(file *os.File, size int) (data []byte, unmap func() error, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(file, data)
	return data, nil, err
}
