// This module was not run in Nextflow, which could not be had where it was written. Its script was
// run by bash (tests/app/test_engines.py). docs/many-machines.md tells how to use it.
process VSM {
    tag "$meta.id"
    label 'process_medium'

    container 'vsm:0.1.0'

    input:
    tuple val(meta), path(image)

    output:
    tuple val(meta), path("${prefix}/*_label.tiff") , emit: labels
    tuple val(meta), path("${prefix}/*_cells.csv")  , emit: table, optional: true
    tuple val(meta), path("${prefix}/*.geojson*")   , emit: geojson, optional: true
    tuple val(meta), path("${prefix}/*_rois.zip")   , emit: rois, optional: true
    tuple val(meta), path("${prefix}/*_overlay.jpg"), emit: overlay, optional: true
    tuple val(meta), path("${prefix}/report.html")  , emit: report, optional: true
    tuple val(meta), path("${prefix}/run.json")     , emit: run
    tuple val("${task.process}"), val('vsm'), eval("vsm --version | sed '1!d; s/^vsm //; s/,.*//'"), emit: versions_vsm, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def memory = task.memory ? "--max-memory ${task.memory.toMega()}MiB" : ''
    prefix = task.ext.prefix ?: "${meta.id}"
    // Nextflow itself quotes the name of a file. ./: it may begin with a dash.
    """
    vsm ./${image} "./${prefix}" --threads ${task.cpus} ${memory} ${args}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mkdir "./${prefix}"
    touch "./${prefix}/${image.baseName}_label.tiff" "./${prefix}/run.json"
    """
}
