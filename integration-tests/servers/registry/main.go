// A registry that has the referrers API of OCI 1.1, which crane's own does not switch on.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	disk := flag.String("disk", "", "the folder for blobs; manifests are kept in memory")
	flag.Parse()
	options := []registry.Option{registry.WithReferrersSupport(true)}
	if *disk != "" {
		options = append(options, registry.WithBlobHandler(registry.NewDiskBlobHandler(*disk)))
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("serving on %s", listener.Addr())
	server := &http.Server{Handler: registry.New(options...), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(listener))
}
