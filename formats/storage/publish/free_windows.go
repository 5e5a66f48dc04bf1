package publish

import (
	"math"

	"golang.org/x/sys/windows"
)

func freeBytes(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var mine, total, free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &mine, &total, &free); err != nil {
		return 0, err
	}
	return int64(min(mine, math.MaxInt64)), nil
}
