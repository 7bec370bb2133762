package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// mount mounts a file system for the time of the test and returns where. Where
// that is not permitted the test is skipped, and fails if MMSPIPE_TEST_NO_SKIP is
// 1.
func mount(t testing.TB, args ...string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "mounted")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := command(append(append([]string{"mount"}, args...), dir)...); err != nil {
		if os.Getenv("MMSPIPE_TEST_NO_SKIP") == "1" {
			t.Fatalf("MMSPIPE_TEST_NO_SKIP=1 wants this tested, and it needs the right to mount: %v", err)
		}
		t.Skipf("NOT TESTED, for want of the right to mount: %v", err)
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

// unmount unmounts what is mounted at dir.
func unmount(t testing.TB, dir string) {
	t.Helper()
	if err := command("umount", dir); err != nil {
		t.Error(err)
	}
}

// loopDisk is a disk in a file, with an ext4 file system that is mounted.
type loopDisk struct {
	t     testing.TB
	image string
	dir   string
}

// newLoopDisk makes a disk of some bytes. MMSPIPE_CI_NO_LOOP=1 says that this
// machine has no loop devices, so that the test is skipped.
func newLoopDisk(t testing.TB, size int64) *loopDisk {
	t.Helper()
	if os.Getenv("MMSPIPE_CI_NO_LOOP") == "1" {
		t.Skip("NOT TESTED: power loss, because MMSPIPE_CI_NO_LOOP=1 says that there are no loop devices")
	}
	d := &loopDisk{t: t, image: filepath.Join(t.TempDir(), "image")}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := command("mkfs.ext4", "-q", "-F", d.image); err != nil {
		t.Fatal(err)
	}
	d.dir = mount(t, "-o", "loop", d.image)
	return d
}

// snapshot copies the disk as it is now, without what the file system still holds
// in memory, and returns the copy's name. No process may be writing to it. The
// kernel may be, and then the copy would be of no one moment: it is good when
// the disk has not changed since the copy was begun.
func (d *loopDisk) snapshot() string {
	d.t.Helper()
	const attempts = 20
	image := d.image + "-after"
	for range attempts {
		if err := command("cp", "--sparse=always", d.image, image); err != nil {
			d.t.Fatal(err)
		}
		if exec.Command("cmp", "-s", d.image, image).Run() == nil {
			return image
		}
	}
	d.t.Fatalf("the disk did not stand still in %d attempts", attempts)
	return ""
}

// replace puts another image in the place of the disk. No process may have a file
// open on it.
func (d *loopDisk) replace(image string) {
	d.t.Helper()
	unmount(d.t, d.dir)
	if err := os.Rename(image, d.image); err != nil {
		d.t.Fatal(err)
	}
	if err := command("mount", "-o", "loop", d.image, d.dir); err != nil {
		d.t.Fatal(err)
	}
}
