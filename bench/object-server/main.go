// A quick S3 server for benches: it leaves the processors to the clients. It lists and serves what is below a directory, and checks no signature.
//
//	object-server ROOT ADDRESS [CERTIFICATE KEY]
//
// Each directory below ROOT is a bucket. Objects of a bucket "parts" have the ETag of an upload in parts of 8 MiB.
package main

import (
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

const partSize = 8 << 20

type object struct {
	XMLName      xml.Name `xml:"Contents"`
	Key          string
	LastModified string
	ETag         string
	Size         int64
	path         string
	modified     time.Time
}

// The answer to ListObjectsV2, in the order that clients expect.
type page struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                string
	KeyCount              int
	MaxKeys               int
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []object
	CommonPrefixes        []prefix
}

type prefix struct{ Prefix string }

func main() {
	log.SetFlags(0)
	root, address := os.Args[1], os.Args[2]
	buckets := map[string][]object{}
	entries, err := os.ReadDir(root)
	check(err)
	for _, entry := range entries {
		buckets[entry.Name()] = objectsBelow(filepath.Join(root, entry.Name()), entry.Name() == "parts")
	}
	server := &http.Server{Addr: address, Handler: handler(buckets)}
	if len(os.Args) > 4 {
		// HTTP/1.1, as S3 speaks it.
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		log.Fatal(server.ListenAndServeTLS(os.Args[3], os.Args[4]))
	}
	log.Fatal(server.ListenAndServe())
}

func objectsBelow(bucket string, inParts bool) []object {
	var found []object
	check(filepath.WalkDir(bucket, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		check(err)
		key, err := filepath.Rel(bucket, path)
		check(err)
		modified := info.ModTime().UTC()
		found = append(found, object{
			Key: key, LastModified: modified.Format("2006-01-02T15:04:05.000Z"), ETag: etagOf(path, inParts),
			Size: info.Size(), path: path, modified: modified,
		})
		return nil
	}))
	sort.Slice(found, func(i, j int) bool { return found[i].Key < found[j].Key })
	return found
}

func etagOf(path string, inParts bool) string {
	file, err := os.Open(path)
	check(err)
	defer file.Close()
	if !inParts {
		sum := md5.New()
		_, err = io.Copy(sum, file)
		check(err)
		return `"` + hex.EncodeToString(sum.Sum(nil)) + `"`
	}
	all, parts := md5.New(), 0
	for {
		sum := md5.New()
		length, err := io.CopyN(sum, file, partSize)
		if length > 0 {
			all.Write(sum.Sum(nil))
			parts++
		}
		if err == io.EOF {
			return fmt.Sprintf(`"%s-%d"`, hex.EncodeToString(all.Sum(nil)), parts)
		}
		check(err)
	}
}

func handler(buckets map[string][]object) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
		objects, exists := buckets[bucket]
		if key == "" && exists {
			list(response, request, bucket, objects)
			return
		}
		at := sort.Search(len(objects), func(i int) bool { return objects[i].Key >= key })
		if at == len(objects) || objects[at].Key != key {
			http.Error(response, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
			return
		}
		file, err := os.Open(objects[at].path)
		check(err)
		defer file.Close()
		response.Header().Set("ETag", objects[at].ETag)
		response.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(response, request, "", objects[at].modified, file)
	}
}

func list(response http.ResponseWriter, request *http.Request, bucket string, objects []object) {
	query := request.URL.Query()
	begin, delimiter := query.Get("prefix"), query.Get("delimiter")
	after := max(query.Get("start-after"), query.Get("continuation-token"))
	most, err := strconv.Atoi(query.Get("max-keys"))
	if err != nil || most > 1000 {
		most = 1000
	}
	result := page{Name: bucket, Prefix: begin, MaxKeys: most}
	last := ""
	at := sort.Search(len(objects), func(i int) bool { return objects[i].Key > after && objects[i].Key >= begin })
	for ; at < len(objects) && strings.HasPrefix(objects[at].Key, begin); at++ {
		if result.KeyCount == most {
			result.IsTruncated, result.NextContinuationToken = true, last
			break
		}
		result.KeyCount++
		last = objects[at].Key
		below := -1
		if delimiter != "" {
			below = strings.Index(last[len(begin):], delimiter)
		}
		if below < 0 {
			result.Contents = append(result.Contents, objects[at])
			continue
		}
		directory := last[:len(begin)+below+1]
		result.CommonPrefixes = append(result.CommonPrefixes, prefix{directory})
		for at+1 < len(objects) && strings.HasPrefix(objects[at+1].Key, directory) {
			at++
			last = objects[at].Key
		}
	}
	response.Header().Set("Content-Type", "application/xml")
	io.WriteString(response, xml.Header)
	// A client may be gone by now.
	_ = xml.NewEncoder(response).Encode(result)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
